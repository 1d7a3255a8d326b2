// Folders of images as cameras: order, formats, broken files in between, and hostile bytes.
#include "nodes/base/file_io.hpp"
#include "nodes/camera/image_source.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void write_image(const std::string& path, int width, int height, int blue) {
  ASSERT_TRUE(cv::imwrite(path, cv::Mat(height, width, CV_8UC3, cv::Scalar(blue, 20, 200))));
}

// The blue values of all frames, -1 for a bad one.
std::vector<int> read_blue(FrameSource& source, int limit = 100) {
  std::vector<int> values;
  for (int i = 0; i < limit; ++i) {
    const auto grab = source.grab(1s);
    if (!grab || grab->status == GrabStatus::kEndOfStream) break;
    if (grab->status == GrabStatus::kBadFrame) {
      values.push_back(-1);
      continue;
    }
    Canvas canvas(grab->frame);
    if (!source.retrieve(canvas.view())) {
      values.push_back(-1);
      continue;
    }
    EXPECT_TRUE(canvas.padding_untouched());
    values.push_back(canvas.at(grab->frame.width - 1, grab->frame.height - 1)[0]);
  }
  return values;
}

std::vector<std::uint8_t> read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ImageSource, NaturalOrder) {
  EXPECT_TRUE(natural_less("frame2.png", "frame10.png"));
  EXPECT_FALSE(natural_less("frame10.png", "frame2.png"));
  EXPECT_TRUE(natural_less("a9b10", "a10b2"));
  EXPECT_TRUE(natural_less("a", "a1"));
  EXPECT_TRUE(natural_less("a01", "a2"));
  EXPECT_NE(natural_less("a01", "a1"), natural_less("a1", "a01"));
  EXPECT_FALSE(natural_less("a1", "a1"));
  EXPECT_TRUE(natural_less("99999999999999999999998", "99999999999999999999999"));
}

TEST(ImageSource, ReadsAFolderInNaturalOrderWithoutCopies) {
  TempDir dir;
  for (const int i : {10, 2, 1})
    write_image(dir / std::string("f").append(std::to_string(i)).append(".png"), 40, 30, i);
  write_file(dir / "notes.txt", "not an image");
  const auto source = open_source("images://" + dir.path().string() + "?rate=max");
  ASSERT_TRUE(source);
  EXPECT_EQ(source->info().width, 40u);
  EXPECT_EQ(source->info().height, 30u);
  EXPECT_EQ(source->info().frame_count, 3u);
  EXPECT_THAT(read_blue(*source), ElementsAre(1, 2, 10));
  EXPECT_EQ(source->grab(1s)->status, GrabStatus::kEndOfStream);
  EXPECT_EQ(source->counters().bytes_copied, 0u);
}

TEST(ImageSource, AZeroByteAndATruncatedFileAreCountedAndSkipped) {
  TempDir dir;
  write_image(dir / "1.png", 40, 30, 1);
  write_file(dir / "2.png", "");
  write_image(dir / "3.png", 40, 30, 3);
  write_file(dir / "4.png", "no image at all");
  std::filesystem::copy(dir / "3.png", dir / "5.png");
  std::filesystem::resize_file(dir / "5.png", 60);  // the header is intact, the pixels are not
  write_image(dir / "6.png", 40, 30, 6);
  const auto source = open_source("images://" + dir.path().string() + "?rate=max");
  ASSERT_TRUE(source);
  EXPECT_THAT(read_blue(*source), ElementsAre(1, -1, 3, -1, -1, 6));
  EXPECT_EQ(source->counters().bad_frames, 3u);
}

TEST(ImageSource, TheBadFrameNamesItsFile) {
  TempDir dir;
  write_file(dir / "1.png", "");
  write_image(dir / "2.png", 40, 30, 2);
  const auto source = open_source("images://" + dir.path().string() + "?rate=max");
  ASSERT_TRUE(source);
  const auto grab = source->grab(1s);
  EXPECT_EQ(grab->status, GrabStatus::kBadFrame);
  EXPECT_THAT(grab->detail, HasSubstr((dir / "1.png") + ": is empty"));
}

TEST(ImageSource, OnlyBadFilesIsAnErrorAtOpenAndLater) {
  TempDir dir;
  write_file(dir / "1.png", "");
  write_file(dir / "2.jpg", "xx");
  const std::string uri = "images://" + dir.path().string() + "?rate=max&loop=true";
  auto source = make_frame_source(uri, {});
  ASSERT_TRUE(source);
  EXPECT_EQ((*source)->open().error().code, ErrorCode::kCorrupt);

  write_image(dir / "1.png", 16, 16, 1);
  ASSERT_TRUE((*source)->open());
  ASSERT_EQ((*source)->grab(1s)->status, GrabStatus::kFrame);
  write_file(dir / "1.png", "");
  ASSERT_EQ((*source)->grab(1s)->status, GrabStatus::kBadFrame);  // 2.jpg of the first pass
  ASSERT_EQ((*source)->grab(1s)->status, GrabStatus::kBadFrame);
  ASSERT_EQ((*source)->grab(1s)->status, GrabStatus::kBadFrame);
  const auto lost = (*source)->grab(1s);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::kCorrupt);
}

TEST(ImageSource, SizesMayChangeFromImageToImage) {
  TempDir dir;
  write_image(dir / "1.png", 40, 30, 1);
  write_image(dir / "2.png", 64, 48, 2);
  const auto source = open_source("images://" + (dir / "*.png") + "?rate=max");
  ASSERT_TRUE(source);
  EXPECT_EQ(source->grab(1s)->frame.width, 40u);
  const auto grab = source->grab(1s);
  EXPECT_EQ(grab->frame.width, 64u);
  EXPECT_EQ(grab->frame.height, 48u);
  Canvas canvas(grab->frame);
  EXPECT_TRUE(source->retrieve(canvas.view()));
}

TEST(ImageSource, OtherFormatsAreDecodedToo) {
  TempDir dir;
  write_image(dir / "1.bmp", 40, 30, 11);
  write_image(dir / "2.jpg", 40, 30, 12);
  const auto source = open_source("images://" + dir.path().string() + "?rate=max");
  ASSERT_TRUE(source);
  const auto blue = read_blue(*source);
  ASSERT_EQ(blue.size(), 2u);
  EXPECT_EQ(blue[0], 11);
  EXPECT_NEAR(blue[1], 12, 3);
  EXPECT_EQ(source->counters().bytes_copied, 0u);
}

// Exif orientation 6: the picture is to be turned by a quarter, which swaps its sides.
TEST(ImageSource, ATurnedJpegHasItsTurnedSize) {
  TempDir dir;
  write_image(dir / "1.jpg", 40, 24, 99);
  auto bytes = read_bytes(dir / "1.jpg");
  const std::vector<std::uint8_t> exif{0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0,    'M', 'M',
                                       0,    42,   0, 0,  0,   8,   0,   1,   1, 0x12, 0,   3,
                                       0,    0,    0, 1,  0,   6,   0,   0,   0, 0,    0,   0};
  bytes.insert(bytes.begin() + 2, exif.begin(), exif.end());
  write_file(dir / "1.jpg", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const auto source = open_source("images://" + dir.path().string() + "?rate=max");
  ASSERT_TRUE(source);
  const auto grab = source->grab(1s);
  ASSERT_EQ(grab->status, GrabStatus::kFrame);
  EXPECT_EQ(grab->frame.width, 24u);
  EXPECT_EQ(grab->frame.height, 40u);
  Canvas canvas(grab->frame);
  ASSERT_TRUE(source->retrieve(canvas.view()));
  EXPECT_NEAR(canvas.at(12, 20)[0], 99, 4);
  EXPECT_EQ(source->counters().bytes_copied, 3u * 24 * 40);
}

TEST(ImageSource, ACutJpegIsABadFrameThatNamesItsFileAndTheOthersGoOn) {
  TempDir dir;
  for (const int i : {1, 2, 3}) {
    cv::Mat image(60, 80, CV_8UC3);
    cv::randu(image, 0, 256);
    ASSERT_TRUE(cv::imwrite(dir / (std::to_string(i) + ".jpg"), image));
  }
  std::filesystem::resize_file(dir / "2.jpg", std::filesystem::file_size(dir / "2.jpg") / 2);
  const auto source = open_source("images://" + dir.path().string() + "?rate=max");
  ASSERT_TRUE(source);
  std::vector<bool> good;
  for (auto grab = source->grab(1s); grab && grab->status == GrabStatus::kFrame;
       grab = source->grab(1s)) {
    Canvas canvas(grab->frame);
    const auto written = source->retrieve(canvas.view());
    good.push_back(written.has_value());
    if (!written) {
      EXPECT_THAT(written.error().message, HasSubstr((dir / "2.jpg") + ": is cut off"));
      EXPECT_EQ(source->item(), dir / "2.jpg");
    }
  }
  EXPECT_THAT(good, ElementsAre(true, false, true));
  EXPECT_EQ(source->counters().bad_frames, 1u);
}

TEST(ImageSource, AHugePictureIsABadFrameThatNamesFileSizeLimitAndParameter) {
  TempDir dir;
  write_image(dir / "1.png", 40, 30, 1);
  write_image(dir / "2.png", 400, 300, 2);
  const auto source = open_source("images://" + dir.path().string() + "?rate=max&max_pixels=2000");
  ASSERT_TRUE(source);
  EXPECT_EQ(source->grab(1s)->status, GrabStatus::kFrame);
  const auto large = source->grab(1s);
  EXPECT_EQ(large->status, GrabStatus::kBadFrame);
  EXPECT_THAT(large->detail, HasSubstr("2.png: is 400x300"));
  EXPECT_THAT(large->detail, HasSubstr("max_pixels is 2000"));
}

TEST(ImageSource, LoopStartAndRate) {
  TempDir dir;
  for (int i = 0; i < 4; ++i) write_image(dir / (std::to_string(i) + ".png"), 16, 16, i);
  FakeClock clock;
  const auto source = open_source("images://" + dir.path().string() + "?fps=5&loop=true&start=0.4",
                                  {.clock = &clock});
  ASSERT_TRUE(source);
  const Nanoseconds start = clock.now;
  EXPECT_THAT(read_blue(*source, 6), ElementsAre(2, 3, 0, 1, 2, 3));
  EXPECT_EQ(clock.now, start + 1s);  // six frames at 5 Hz: five periods
}

TEST(ImageSource, NothingThereAndStartBehindTheEndAreErrors) {
  TempDir dir;
  const auto open_error = [](const std::string& uri) {
    return (*make_frame_source(uri, {}))->open().error();
  };
  EXPECT_EQ(open_error("images://" + dir.path().string()).code, ErrorCode::kNotFound);
  EXPECT_EQ(open_error("images://" + (dir / "absent")).code, ErrorCode::kNotFound);
  write_image(dir / "1.png", 16, 16, 1);
  EXPECT_EQ(open_error("images://" + dir.path().string() + "?start=9").code,
            ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fovea::frames
