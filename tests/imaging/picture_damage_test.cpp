// Pictures that are cut off or damaged are errors: none is delivered with grey below. Sizes above
// the limit are found before memory is asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/imaging/pictures.hpp"

namespace fovea::imaging {
namespace {

using testing::HasSubstr;

cv::Mat noise(int width = 160, int height = 120) {
  cv::Mat image(height, width, CV_8UC3);
  cv::randu(image, 0, 256);
  return image;
}

File cut(File file, std::size_t length) {
  file.resize(length);
  return file;
}

TEST(PictureDamage, AJpegCutAnywhereIsAnErrorThatSaysSo) {
  for (const bool progressive : {false, true}) {
    const File whole = encode(".jpg", noise(), {cv::IMWRITE_JPEG_PROGRESSIVE, progressive ? 1 : 0});
    ASSERT_TRUE(decode(whole));
    for (std::size_t length = 0; length < whole.size(); length += length < 700 ? 1 : 97) {
      const auto decoded = decode(cut(whole, length));
      ASSERT_FALSE(decoded) << length << " of " << whole.size();
      EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
    }
    EXPECT_THAT(decode(cut(whole, whole.size() / 2)).error().message, HasSubstr("is cut off"));
    EXPECT_FALSE(decode(cut(whole, whole.size() - 1)));
    EXPECT_FALSE(decode(cut(whole, whole.size() - 2)));
  }
}

TEST(PictureDamage, ACameraMayLeaveOutTheEndMarkerButNoPixels) {
  const PictureOptions camera{.needs_end_marker = false};
  const File whole = encode(".jpg", noise());
  EXPECT_TRUE(decode(cut(whole, whole.size() - 2), camera));
  EXPECT_FALSE(decode(cut(whole, whole.size() - 200), camera));
  const File progressive = encode(".jpg", noise(), {cv::IMWRITE_JPEG_PROGRESSIVE, 1});
  EXPECT_FALSE(decode(cut(progressive, progressive.size() - 2), camera));
}

// The thumbnail brings an end marker of its own.
TEST(PictureDamage, ACutJpegWithAThumbnailIsStillCut) {
  const File thumbnail = encode(".jpg", noise(16, 16));
  std::string block = exif_block(1, false);
  for (const std::byte byte : thumbnail) block += static_cast<char>(byte);
  const File whole = with_jpeg_exif(encode(".jpg", noise()), block);
  ASSERT_TRUE(decode(whole));
  EXPECT_FALSE(decode(cut(whole, whole.size() * 2 / 3)));
}

TEST(PictureDamage, WhatPhonesAppendBehindAJpegIsNoDamage) {
  File picture = encode(".jpg", noise());
  picture.insert(picture.end(), 5000, std::byte{0x5a});
  EXPECT_TRUE(decode(picture));
}

TEST(PictureDamage, BitsThatTurnedInsideAJpegAreFound) {
  const File whole = encode(".jpg", noise(320, 240));
  std::size_t found = 0;
  constexpr std::size_t kTrials = 40;
  for (std::size_t trial = 0; trial < kTrials; ++trial) {
    File damaged = whole;
    const std::size_t at = whole.size() / 3 + trial * 211;
    for (std::size_t i = 0; i < 40; ++i) damaged[at + i] = static_cast<std::byte>(i * 37 + trial);
    const auto decoded = decode(damaged);
    if (!decoded) {
      EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
      ++found;
    }
  }
  // The format has no checksum: a few hits leave a code that makes sense to its end.
  EXPECT_GE(found, kTrials * 3 / 4);
}

TEST(PictureDamage, OtherFormatsCutAreErrors) {
  const cv::Mat image = noise(60, 40);
  for (const char* extension : {".png", ".webp", ".bmp", ".tiff", ".ppm", ".pgm"}) {
    const File whole = encode(extension, image);
    ASSERT_TRUE(decode(whole)) << extension;
    for (const std::size_t length :
         {whole.size() - 1, whole.size() * 9 / 10, whole.size() / 2, whole.size() / 10,
          std::size_t{40}, std::size_t{10}, std::size_t{2}, std::size_t{0}}) {
      if (std::string(extension) == ".tiff" && length + 8 > whole.size()) continue;  // no pixels
      EXPECT_FALSE(decode(cut(whole, length))) << extension << " of " << length;
    }
  }
}

TEST(PictureDamage, APngWithAWrongChecksumIsAnError) {
  File png = encode(".png", noise(60, 40));
  png[png.size() / 2] ^= std::byte{0x10};
  testing::internal::CaptureStderr();  // libpng would say so in words of its own
  const auto damaged = decode(png);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().message, testing::HasSubstr("checksum"));
}

TEST(PictureDamage, AnyBytesAreSafe) {
  for (const char* extension : {".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"}) {
    const File whole = encode(extension, noise(40, 30));
    for (std::uint32_t seed = 1; seed <= 150; ++seed) {
      File damaged = whole;
      std::uint32_t state = seed;
      for (int i = 0; i < 4; ++i) {
        state = state * 1664525U + 1013904223U;
        // Headers more often than pixels.
        const std::size_t at = state % (i % 2 == 0 ? 64 : damaged.size());
        damaged[at % damaged.size()] = static_cast<std::byte>(state >> 24);
      }
      static_cast<void>(decode(damaged, {.max_pixels = 1 << 20}));
    }
  }
}

// 109 kB that would take 2.7 GB.
TEST(PictureLimit, AHugePictureIsRefusedByItsHeaderWithSizeLimitAndParameter) {
  using std::string_literals::operator""s;
  std::string header;
  append_u32(header, 30000);
  append_u32(header, 30000);
  const File png = file_of("\x89PNG\r\n\x1a\n"s + png_chunk("IHDR", header + "\x08\x02\0\0\0"s) +
                           png_chunk("IDAT", "x") + png_chunk("IEND", ""));
  const auto info = inspect_picture(png);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(info.error().message, HasSubstr("is 30000x30000, 900.0 megapixels"));
  EXPECT_THAT(info.error().message, HasSubstr("max_pixels is 67108864"));
  EXPECT_TRUE(inspect_picture(png, {.max_pixels = 900'000'000}));
}

TEST(PictureLimit, HoldsForEveryFormatAndToThePixel) {
  const cv::Mat image = noise(60, 40);
  for (const char* extension : {".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm", ".pgm"}) {
    const File file = encode(extension, image);
    EXPECT_TRUE(inspect_picture(file, {.max_pixels = 60 * 40})) << extension;
    EXPECT_FALSE(inspect_picture(file, {.max_pixels = 60 * 40 - 1})) << extension;
  }
}

TEST(PictureFile, AFifoInAPicturesPlaceIsAnErrorAtOnce) {
  std::string folder = testing::TempDir() + "fovea-picture-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/a.jpg";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const auto file = read_picture_file(path);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("a.jpg"));
  ::unlink(path.c_str());
  ::rmdir(folder.c_str());
}

}  // namespace
}  // namespace fovea::imaging
