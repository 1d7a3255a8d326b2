// Colours, formats and sizes of whole pictures.
#include "nodes/imaging/picture.hpp"

#include <cstdio>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
// After cstdio.
#include <jpeglib.h>

#include "tests/imaging/pictures.hpp"

namespace fovea::imaging {
namespace {

using testing::HasSubstr;
using std::string_literals::operator""s;

cv::Mat plain(const cv::Scalar& colour, int type = CV_8UC3) { return {20, 30, type, colour}; }

std::array<int, 3> middle(const cv::Mat& image) {
  const auto& pixel = image.at<cv::Vec3b>(image.rows / 2, image.cols / 2);
  return {pixel[0], pixel[1], pixel[2]};
}

void expect_near(const std::array<int, 3>& actual, const std::array<int, 3>& expected, int most,
                 const std::string& what) {
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(actual[c], expected[c], most) << what;
}

// What libjpeg itself writes from these components.
File jpeg_of(J_COLOR_SPACE space, int components, std::array<unsigned char, 4> colour,
             bool adobe = true, J_COLOR_SPACE stored = JCS_UNKNOWN) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = 30;
  jpeg.image_height = 20;
  jpeg.input_components = components;
  jpeg.in_color_space = space;
  jpeg_set_defaults(&jpeg);
  if (stored != JCS_UNKNOWN) jpeg_set_colorspace(&jpeg, stored);
  jpeg_set_quality(&jpeg, 98, TRUE);
  jpeg.write_Adobe_marker = adobe ? TRUE : FALSE;
  jpeg_start_compress(&jpeg, TRUE);
  std::vector<unsigned char> row;
  for (int x = 0; x < 30; ++x) row.insert(row.end(), colour.begin(), colour.begin() + components);
  JSAMPROW pointer = row.data();
  while (jpeg.next_scanline < jpeg.image_height) jpeg_write_scanlines(&jpeg, &pointer, 1);
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  const auto* bytes = reinterpret_cast<const std::byte*>(memory);
  File file(bytes, bytes + size);
  std::free(memory);
  return file;
}

TEST(PictureColour, AWholeJpegIsWhatOpenCvMakesOfIt) {
  cv::Mat image(97, 133, CV_8UC3);
  cv::randu(image, 0, 256);
  for (const bool progressive : {false, true}) {
    const File jpeg = encode(".jpg", image, {cv::IMWRITE_JPEG_PROGRESSIVE, progressive ? 1 : 0});
    const auto decoded = decode(jpeg);
    ASSERT_TRUE(decoded) << decoded.error().message;
    const cv::Mat bytes(1, static_cast<int>(jpeg.size()), CV_8UC1,
                        const_cast<std::byte*>(jpeg.data()));
    EXPECT_EQ(difference(decoded->image, cv::imdecode(bytes, cv::IMREAD_COLOR)), 0);
    EXPECT_EQ(decoded->copied, 0U);
  }
}

TEST(PictureColour, GreyAndDeepSamplesBecomeEightBitBgr) {
  for (const char* extension : {".jpg", ".png", ".bmp", ".tiff", ".pgm"}) {
    const auto decoded = decode(encode(extension, plain(cv::Scalar(90), CV_8UC1)));
    ASSERT_TRUE(decoded) << extension << ": " << decoded.error().message;
    expect_near(middle(decoded->image), {90, 90, 90}, 1, extension);
  }
  const cv::Scalar deep(200 * 257, 100 * 257, 50 * 257);
  for (const char* extension : {".png", ".tiff", ".ppm"}) {
    const auto decoded = decode(encode(extension, plain(deep, CV_16UC3)));
    ASSERT_TRUE(decoded) << extension << ": " << decoded.error().message;
    expect_near(middle(decoded->image), {200, 100, 50}, 1, extension);
  }
}

// What lies below transparent pixels is the picture, as for cv2.imread; nothing is blended.
TEST(PictureColour, AlphaIsIgnored) {
  for (const int alpha : {0, 128, 255}) {
    const cv::Mat image = plain(cv::Scalar(200, 100, 50, alpha), CV_8UC4);
    const auto png = decode(encode(".png", image));
    ASSERT_TRUE(png) << png.error().message;
    expect_near(middle(png->image), {200, 100, 50}, 0, "png " + std::to_string(alpha));
  }
  const auto webp = decode(encode(".webp", plain(cv::Scalar(200, 100, 50, 128), CV_8UC4),
                                  {cv::IMWRITE_WEBP_QUALITY, 101}));
  ASSERT_TRUE(webp) << webp.error().message;
  expect_near(middle(webp->image), {200, 100, 50}, 1, "webp");
  // Grey with alpha, 16 bits, which nothing here writes: by hand, one stored block.
  std::string header;
  append_u32(header, 1);
  append_u32(header, 1);
  const auto grey_alpha =
      decode(file_of("\x89PNG\r\n\x1a\n"s + png_chunk("IHDR", header + "\x08\x04\0\0\0"s) +
                     png_chunk("IDAT", "\x78\x01\x01\x03\0\xfc\xff\0\x5a\x20\0\xd7\0\x7b"s) +
                     png_chunk("IEND", "")));
  ASSERT_TRUE(grey_alpha) << grey_alpha.error().message;
  expect_near(middle(grey_alpha->image), {90, 90, 90}, 0, "grey with alpha");
}

TEST(PictureColour, APaletteIsLookedUp) {
  std::string header;
  append_u32(header, 1);
  append_u32(header, 1);
  const auto decoded = decode(file_of(
      "\x89PNG\r\n\x1a\n"s + png_chunk("IHDR", header + "\x08\x03\0\0\0"s) +
      png_chunk("PLTE", "\x01\x02\x03\x32\x64\xc8"s) +
      png_chunk("IDAT", "\x78\x01\x01\x02\0\xfd\xff\0\x01\0\x03\0\x02"s) + png_chunk("IEND", "")));
  ASSERT_TRUE(decoded) << decoded.error().message;
  expect_near(middle(decoded->image), {200, 100, 50}, 0, "palette");
}

TEST(PictureColour, CmykAndYcckJpegsAreConverted) {
  // R, G, B of 50, 100, 200 at full light: with Adobe's marker 255 is no ink.
  const auto adobe = decode(jpeg_of(JCS_CMYK, 4, {50, 100, 200, 255}));
  ASSERT_TRUE(adobe) << adobe.error().message;
  expect_near(middle(adobe->image), {200, 100, 50}, 3, "CMYK");
  const auto half = decode(jpeg_of(JCS_CMYK, 4, {50, 100, 200, 128}));
  ASSERT_TRUE(half);
  expect_near(middle(half->image), {100, 50, 25}, 3, "CMYK with black");
  const auto ycck = decode(jpeg_of(JCS_CMYK, 4, {50, 100, 200, 255}, true, JCS_YCCK));
  ASSERT_TRUE(ycck) << ycck.error().message;
  expect_near(middle(ycck->image), {200, 100, 50}, 4, "YCCK");
  const auto plain_cmyk = decode(jpeg_of(JCS_CMYK, 4, {205, 155, 55, 0}, false));
  ASSERT_TRUE(plain_cmyk);
  expect_near(middle(plain_cmyk->image), {200, 100, 50}, 3, "CMYK without Adobe's marker");
}

TEST(PictureColour, JpegsOfRgbAndOfTwoComponentsAreRightOrRefusedByName) {
  const auto rgb = decode(jpeg_of(JCS_RGB, 3, {50, 100, 200, 0}, true, JCS_RGB));
  ASSERT_TRUE(rgb) << rgb.error().message;
  expect_near(middle(rgb->image), {200, 100, 50}, 3, "RGB");
  const auto two = decode(jpeg_of(JCS_UNKNOWN, 2, {50, 100, 0, 0}));
  ASSERT_FALSE(two);
  EXPECT_EQ(two.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(two.error().message, HasSubstr("2 components"));
}

TEST(PictureColour, APnmCountsUpToItsOwnWhite) {
  const auto grey = decode(file_of("P5\n# a comment\n2 1\n1000\n\x01\xf4\x01\xf4"s));
  ASSERT_TRUE(grey) << grey.error().message;
  expect_near(middle(grey->image), {127, 127, 127}, 1, "500 of 1000");
  const auto colour = decode(file_of("P6 2 1 100\n\x32\x32\x32\x32\x32\x32"s));
  ASSERT_TRUE(colour) << colour.error().message;
  expect_near(middle(colour->image), {127, 127, 127}, 1, "50 of 100");
  const auto digits = decode(file_of("P3 2 1 100 20 50 100 # a comment\n20 50 100\n"s));
  ASSERT_TRUE(digits) << digits.error().message;
  expect_near(middle(digits->image), {255, 127, 51}, 1, "digits");
  EXPECT_FALSE(decode(file_of("P3 2 1 100 20 50 100 20 50           "s)));
}

TEST(PictureColour, WhatCannotBeRightIsRefusedByName) {
  struct Case {
    File file;
    const char* expected;
  };
  const std::string pixels(std::size_t{4} * 4 * 4, '\x40');
  for (const auto& [file, expected] :
       {Case{tiff_of(4, 4, 4, 8, 2, 1, pixels, {{338, 3, 1, 2}}), "TIFF with alpha"},
        Case{tiff_of(4, 4, 1, 32, 1, 1, pixels, {{339, 3, 1, 3}}), "floating-point"},
        Case{tiff_of(4, 4, 1, 12, 1, 1, pixels), "12 bits a sample"},
        Case{file_of("\0\0\0\x18"s + "ftypheic" + pixels), "HEIF"},
        Case{file_of("GIF89a" + pixels), "GIF"},
        Case{file_of("\0\0\0\x0cjP  \r\n\x87\n"s + pixels), "JPEG 2000"},
        Case{file_of("version https://git-lfs.github.com/spec/v1\noid"), "Git LFS"}}) {
    const auto info = inspect_picture(file);
    ASSERT_FALSE(info) << expected;
    EXPECT_EQ(info.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(info.error().message, HasSubstr(expected));
  }
  const auto text = inspect_picture(file_of("no picture at all"));
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::kCorrupt);
}

TEST(PictureHeader, SizesMatchTheDecoderInEveryFormat) {
  const cv::Mat image = quarters(123, 45);
  for (const char* extension : {".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm", ".pgm"}) {
    const auto info = inspect_picture(encode(extension, image));
    ASSERT_TRUE(info) << extension << ": " << info.error().message;
    EXPECT_EQ(info->width, 123U) << extension;
    EXPECT_EQ(info->height, 45U) << extension;
  }
}

TEST(PictureHeader, SegmentsThatPointNowhereAreSafe) {
  EXPECT_FALSE(inspect_picture({}));
  EXPECT_FALSE(inspect_picture(File(64, std::byte{0xff})));
  EXPECT_FALSE(inspect_picture(file_of("\xff\xd8\xff\xe0\xff\xff\0\0\0\0\0\0"s)));
  // A segment of length 0 must not loop for ever.
  EXPECT_FALSE(inspect_picture(file_of("\xff\xd8\xff\xe0"s + std::string(60, '\0'))));
}

TEST(JpegEncoder, WhatItWritesIsReadBackInEveryEncoding) {
  const cv::Mat bgr = plain(cv::Scalar(200, 100, 50));
  const cv::Mat rgb = plain(cv::Scalar(50, 100, 200));
  for (const auto& [image, encoding] :
       {std::pair(bgr, msgs::Encoding::kBgr8), std::pair(rgb, msgs::Encoding::kRgb8)}) {
    const std::span bytes(reinterpret_cast<const std::byte*>(image.data), image.step * 20);
    File jpeg;
    ASSERT_TRUE(encode_jpeg({bytes, 30, 20, image.step, encoding}, 95, jpeg));
    const auto decoded = decode(jpeg);
    ASSERT_TRUE(decoded);
    expect_near(middle(decoded->image), {200, 100, 50}, 3, "colour");
  }
  const File grey(600, std::byte{90});
  File jpeg;
  ASSERT_TRUE(encode_jpeg({grey, 30, 20, 30, msgs::Encoding::kMono8}, 95, jpeg));
  expect_near(middle(decode(jpeg)->image), {90, 90, 90}, 1, "grey");
  EXPECT_FALSE(encode_jpeg({grey, 30, 21, 30, msgs::Encoding::kMono8}, 95, jpeg));
  EXPECT_FALSE(encode_jpeg({grey, 0, 20, 30, msgs::Encoding::kMono8}, 95, jpeg));
}

}  // namespace
}  // namespace fovea::imaging
