// Recordings as cameras.
#include "nodes/camera/bag_source.hpp"

#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <opencv2/imgcodecs.hpp>
#include <unistd.h>

#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::uint32_t kWidth = 48;
constexpr std::uint32_t kHeight = 32;

class BagSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "fovea_bag_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    path_ = (folder_ / "run.mcap").string();
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Five frames of each topic at 20 Hz, frame i of one colour.
  void record(bool compressed, std::vector<std::string> topics,
              msgs::Encoding encoding = msgs::Encoding::kBgr8) {
    auto writer = mcap::Writer::create(path_);
    ASSERT_TRUE(writer) << writer.error().message;
    const auto schema =
        compressed ? (*writer)->add_schema(bag::kCompressedImageSchemaName, "ros2msg",
                                           bag::compressed_image_schema())
                   : (*writer)->add_schema(bag::kImageSchemaName, "ros2msg", bag::image_schema());
    for (const std::string& topic : topics) {
      const auto channel = (*writer)->add_channel(topic, schema, "cdr");
      for (int i = 0; i < 5; ++i) {
        const auto step = static_cast<std::uint32_t>(bytes_per_row(encoding, kWidth));
        const auto value = static_cast<unsigned char>(10 * i);
        const auto colour = [&](int add) { return static_cast<unsigned char>(value + add); };
        std::vector<unsigned char> pixels;
        for (std::uint32_t p = 0; p < kWidth * kHeight; ++p) {
          switch (encoding) {
            case msgs::Encoding::kMono8:
            case msgs::Encoding::kNv12:
              pixels.push_back(value);
              break;
            case msgs::Encoding::kMono16:
            case msgs::Encoding::kYuyv:
              pixels.insert(pixels.end(), {value, encoding == msgs::Encoding::kYuyv
                                                      ? static_cast<unsigned char>(128)
                                                      : value});
              break;
            case msgs::Encoding::kUyvy:
              pixels.insert(pixels.end(), {128, value});
              break;
            default:
              pixels.insert(pixels.end(), {colour(0), colour(1), colour(2)});
              if (bytes_per_row(encoding, 1) == 4) pixels.push_back(77);
          }
        }
        if (encoding == msgs::Encoding::kNv12) {
          pixels.insert(pixels.end(), std::size_t{kWidth} * kHeight / 2, 128);
        }
        if (compressed) {
          std::vector<unsigned char> jpeg;
          ASSERT_TRUE(cv::imencode(".jpg", cv::Mat(kHeight, kWidth, CV_8UC3, pixels.data()), jpeg));
          pixels = jpeg;
        }
        std::vector<std::byte> cdr;
        bag::to_cdr({.stamp_realtime = time_of(i),
                     .frame_id = "cam0",
                     .compressed = compressed,
                     .height = kHeight,
                     .width = kWidth,
                     .step = step,
                     .encoding = encoding,
                     .data = std::as_bytes(std::span(pixels))},
                    cdr);
        ASSERT_TRUE((*writer)->write(channel, static_cast<std::uint32_t>(i + 1), time_of(i),
                                     time_of(i), cdr));
      }
    }
    ASSERT_TRUE((*writer)->close());
  }
  std::int64_t time_of(int i) const {
    return 1'700'000'000'000'000'000 + std::int64_t{50'000'000} * i + (i > 2 ? gap_ : 0);
  }
  std::int64_t gap_ = 0;  // before the fourth frame, ns

  std::unique_ptr<FrameSource> source(const std::string& query = "") {
    SourceOptions options;
    options.rate = kAsFastAsPossible;
    auto made = make_frame_source("bag://" + path_ + query, options);
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }

  // The first pixel of each frame up to the end, at most `most`.
  std::vector<std::array<int, 3>> first_pixels(FrameSource& source, std::size_t most = 100) {
    std::vector<std::array<int, 3>> found;
    std::vector<std::byte> pixels(std::size_t{3} * kWidth * kHeight);
    while (found.size() < most) {
      auto grab = source.grab(std::chrono::seconds(5));
      EXPECT_TRUE(grab) << grab.error().message;
      if (!grab || grab->status != GrabStatus::kFrame) break;
      EXPECT_EQ(grab->frame.width, kWidth);
      EXPECT_EQ(grab->frame.height, kHeight);
      EXPECT_TRUE(source.retrieve({pixels.data(), kWidth, kHeight, std::size_t{3} * kWidth}));
      found.push_back(
          {static_cast<int>(pixels[0]), static_cast<int>(pixels[1]), static_cast<int>(pixels[2])});
    }
    return found;
  }

  fs::path folder_;
  std::string path_;
};

// Recordings of other tools hold what their cameras send.
TEST_F(BagSourceTest, PlaysEveryEncoding) {
  using Encoding = msgs::Encoding;
  for (const Encoding encoding :
       {Encoding::kMono8, Encoding::kMono16, Encoding::kBgra8, Encoding::kRgba8, Encoding::kRgb8,
        Encoding::kNv12, Encoding::kYuyv, Encoding::kUyvy}) {
    fs::remove(path_);
    record(false, {"cam/image"}, encoding);
    auto bag = source();
    ASSERT_TRUE(bag->open()) << msgs::enum_name(encoding);
    const auto pixels = first_pixels(*bag);
    ASSERT_EQ(pixels.size(), 5u) << msgs::enum_name(encoding);
    std::array<int, 3> wanted{40, 40, 40};
    if (encoding == Encoding::kBgra8) wanted = {40, 41, 42};
    if (encoding == Encoding::kRgba8 || encoding == Encoding::kRgb8) wanted = {42, 41, 40};
    // Luma of 16..235.
    if (needs_even_width(encoding)) wanted = {28, 28, 28};
    EXPECT_EQ(pixels[4], wanted) << msgs::enum_name(encoding);
  }
}

TEST_F(BagSourceTest, PlaysRawFramesInOrder) {
  record(false, {"cam0/image"});
  auto camera = source();
  ASSERT_TRUE(camera->open());
  EXPECT_EQ(camera->info().frame_count, 5u);
  EXPECT_NEAR(camera->info().fps, 20, 1e-6);
  EXPECT_EQ(camera->info().width, kWidth);
  const auto pixels = first_pixels(*camera);
  ASSERT_EQ(pixels.size(), 5u);
  EXPECT_EQ(pixels[3], (std::array<int, 3>{30, 31, 32}));
  EXPECT_EQ(camera->counters().bytes_copied, 0u);
}

// Frames that came late when they were recorded come late again.
TEST_F(BagSourceTest, IsPlayedAtThePaceOfItsStamps) {
  gap_ = 700'000'000;
  record(false, {"cam0/image"});
  FakeClock clock;
  auto camera = open_source("bag://" + path_, {.clock = &clock});
  ASSERT_TRUE(camera);
  std::vector<std::int64_t> stamps;
  for (int i = 0; i < 5; ++i) {
    const auto grab = camera->grab(std::chrono::seconds(5));
    ASSERT_TRUE(grab);
    stamps.push_back(grab->frame.stamp_monotonic);
  }
  for (int i = 1; i < 5; ++i) {
    EXPECT_EQ(stamps[static_cast<std::size_t>(i)] - stamps[0], time_of(i) - time_of(0)) << i;
  }
}

TEST_F(BagSourceTest, TurnsOtherEncodingsIntoBgr) {
  record(false, {"cam0/image"}, msgs::Encoding::kRgb8);
  auto rgb = source();
  ASSERT_TRUE(rgb->open());
  EXPECT_EQ(first_pixels(*rgb)[2], (std::array<int, 3>{22, 21, 20}));
  fs::remove(path_);
  record(false, {"cam0/image"}, msgs::Encoding::kMono8);
  auto mono = source();
  ASSERT_TRUE(mono->open());
  EXPECT_EQ(first_pixels(*mono)[2], (std::array<int, 3>{20, 20, 20}));
}

TEST_F(BagSourceTest, PlaysJpegFramesWithoutACopy) {
  record(true, {"cam0/image"});
  auto camera = source();
  ASSERT_TRUE(camera->open());
  const auto pixels = first_pixels(*camera);
  ASSERT_EQ(pixels.size(), 5u);
  EXPECT_NEAR(pixels[4][1], 41, 3);
  EXPECT_EQ(camera->counters().bytes_copied, 0u);
}

TEST_F(BagSourceTest, LoopsAndStartsLate) {
  record(false, {"cam0/image"});
  auto looping = source("?loop=true");
  ASSERT_TRUE(looping->open());
  EXPECT_EQ(first_pixels(*looping, 12).size(), 12u);
  auto late = source("?start=0.1");
  ASSERT_TRUE(late->open());
  const auto pixels = first_pixels(*late);
  ASSERT_EQ(pixels.size(), 3u);
  EXPECT_EQ(pixels[0][0], 20);
  auto too_late = source("?start=9");
  const auto opened = too_late->open();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("start is 9 s"));
}

TEST_F(BagSourceTest, AsksForTheTopicWhereThereAreSeveral) {
  record(false, {"cam0/image", "cam1/image"});
  const auto opened = source()->open();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("one of cam0/image, cam1/image"));
  auto chosen = source("?topic=cam1/image");
  ASSERT_TRUE(chosen->open());
  EXPECT_EQ(first_pixels(*chosen).size(), 5u);
  const auto unknown = source("?topic=cam7/image")->open();
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("topic is 'cam7/image'"));
}

TEST_F(BagSourceTest, RefusesARecordingWithoutImages) {
  auto writer = mcap::Writer::create(path_);
  ASSERT_TRUE(writer);
  (*writer)->add_channel("detector/status", (*writer)->add_schema("x", "ros2msg", ""), "cdr");
  ASSERT_TRUE((*writer)->close());
  const auto opened = source()->open();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("no topic with images"));
}

}  // namespace
}  // namespace fovea::frames
