// Pictures in a camera's own encodings: the letterbox makes of them what it makes of the same picture as
// RGB, and the vectorised conversion gives the bytes of the readable one.
#include "nodes/preprocess/colour_rows.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/preprocess/letterbox.hpp"

namespace fovea {
namespace {

using msgs::Encoding;
using ::testing::HasSubstr;

constexpr Encoding kOwn[] = {Encoding::kMono16, Encoding::kBgra8, Encoding::kRgba8,
                             Encoding::kNv12,   Encoding::kYuyv,  Encoding::kUyvy};

// Memory that ends with the last pixel.
struct Picture {
  Picture(std::uint32_t width, std::uint32_t height, Encoding encoding, std::uint32_t extra = 6) {
    const auto row = static_cast<std::uint32_t>(bytes_per_row(encoding, width));
    const std::uint32_t step = row + extra;
    pixels.resize(std::size_t{step} * (rows_of_bytes(encoding, height) - 1) + row);
    std::mt19937 generator(width * 7 + height + static_cast<std::uint32_t>(encoding));
    for (auto& byte : pixels) byte = static_cast<std::byte>(generator());
    view = {pixels, width, height, step, encoding};
  }
  // As rgb8, by the readable path.
  std::vector<std::byte> as_rgb() const {
    std::vector<std::byte> rgb(std::size_t{view.width} * view.height * 3);
    const auto* from = reinterpret_cast<const std::uint8_t*>(pixels.data());
    for (std::uint32_t y = 0; y < view.height; ++y) {
      const std::uint8_t* chroma = view.encoding == Encoding::kNv12
                                       ? from + (std::size_t{view.height} + y / 2) * view.step
                                       : nullptr;
      convert_pixels(view.encoding, from + std::size_t{y} * view.step, chroma, view.width,
                     ChannelOrder::kRgb,
                     reinterpret_cast<std::uint8_t*>(rgb.data()) + std::size_t{y} * view.width * 3);
    }
    return rgb;
  }

  std::vector<std::byte> pixels;
  ImageView view;
};

std::vector<std::byte> run(const ImageView& view, ResizeMode mode, std::uint32_t side,
                           bool force_scalar = false) {
  auto letterbox = Letterbox::create({.network_width = side,
                                      .network_height = side,
                                      .resize = mode,
                                      .force_scalar = force_scalar});
  EXPECT_TRUE(letterbox);
  std::vector<std::byte> out(letterbox->output_bytes());
  const auto done = letterbox->run(view, out);
  EXPECT_TRUE(done) << (done ? "" : done.error().message);
  return out;
}

TEST(ColourRows, YuvIsWithinOneOfBt601) {
  for (int y = 0; y < 256; y += 3) {
    for (int u = 0; u < 256; u += 5) {
      for (int v = 0; v < 256; v += 5) {
        const double luma = 255.0 / 219 * std::max(y - 16, 0);
        const double cu = (u - 128) / 224.0 * 255;
        const double cv = (v - 128) / 224.0 * 255;
        const auto clipped = [](double value) { return std::clamp(value, 0.0, 255.0); };
        const Rgb rgb = rgb_of_yuv(y, u, v);
        ASSERT_NEAR(rgb.red, clipped(luma + 1.402 * cv), 1) << y << " " << u << " " << v;
        ASSERT_NEAR(rgb.green, clipped(luma - 0.344136 * cu - 0.714136 * cv), 1);
        ASSERT_NEAR(rgb.blue, clipped(luma + 1.772 * cu), 1);
      }
    }
  }
  const Rgb white = rgb_of_yuv(235, 128, 128);
  EXPECT_EQ(white.red, 255);
  EXPECT_EQ(white.green, 255);
  EXPECT_EQ(white.blue, 255);
}

TEST(ColourRows, EveryVectorisedPathGivesTheBytesOfTheReadableOne) {
  for (const auto& candidate : colour_kernels::all_convert_yuv()) {
    for (const Encoding encoding : {Encoding::kNv12, Encoding::kYuyv, Encoding::kUyvy}) {
      for (const std::uint32_t width : {2U, 14U, 16U, 18U, 62U, 64U, 1282U}) {
        const Picture picture(width, 2, encoding, 0);
        const std::vector<std::byte> wanted = picture.as_rgb();
        std::vector<std::uint8_t> got(std::size_t{width} * 3 + 1, 0xAB);
        const auto* row = reinterpret_cast<const std::uint8_t*>(picture.pixels.data());
        const std::uint8_t* chroma = encoding == Encoding::kNv12 ? row + 2 * width : nullptr;
        candidate.convert(encoding, row, chroma, width, got.data());
        EXPECT_TRUE(std::equal(got.begin(), got.end() - 1,
                               reinterpret_cast<const std::uint8_t*>(wanted.data())))
            << candidate.name << " " << msgs::enum_name(encoding) << " " << width;
        EXPECT_EQ(got.back(), 0xAB) << candidate.name << " writes behind the row";
      }
    }
  }
}

TEST(ColourRows, TheLetterboxTreatsEveryEncodingAsTheSamePictureInRgb) {
  constexpr ResizeMode kModes[] = {ResizeMode::kLetterbox, ResizeMode::kLetterboxTopLeft,
                                   ResizeMode::kStretch, ResizeMode::kStretchAntialiased,
                                   ResizeMode::kCentreCrop};
  for (const Encoding encoding : kOwn) {
    for (const auto& [width, height] :
         {std::pair(64U, 48U), std::pair(32U, 32U), std::pair(18U, 50U), std::pair(2U, 2U)}) {
      const Picture picture(width, height, encoding);
      const std::vector<std::byte> rgb = picture.as_rgb();
      const ImageView as_rgb{rgb, width, height, 3 * width, Encoding::kRgb8};
      for (const ResizeMode mode : kModes) {
        const auto wanted = run(as_rgb, mode, 32);
        EXPECT_EQ(run(picture.view, mode, 32), wanted)
            << msgs::enum_name(encoding) << " " << width << "x" << height << " "
            << kResizeModeNames[static_cast<std::size_t>(mode)];
        EXPECT_EQ(run(picture.view, mode, 32, true), wanted) << msgs::enum_name(encoding);
      }
    }
  }
}

// One letterbox, several cameras: rows of the one are not taken for the other's.
TEST(ColourRows, CamerasOfOneSizeTakeTurns) {
  auto letterbox = Letterbox::create({.network_width = 32, .network_height = 32});
  ASSERT_TRUE(letterbox);
  const Picture first(64, 48, Encoding::kYuyv);
  Picture second(64, 48, Encoding::kYuyv);
  for (auto& byte : second.pixels) byte ^= std::byte{0x55};
  std::vector<std::byte> out(letterbox->output_bytes());
  for (const Picture* picture : std::initializer_list<const Picture*>{&first, &second, &first}) {
    ASSERT_TRUE(letterbox->run(picture->view, out));
    EXPECT_EQ(out, run(picture->view, ResizeMode::kLetterbox, 32));
  }
}

TEST(ColourRows, SixteenBitsKeepBlackAndWhite) {
  std::uint8_t rgb[12];
  const std::uint8_t row[] = {0, 0, 0xFF, 0xFF, 0, 0x80, 0x01, 0x01};
  convert_pixels(Encoding::kMono16, row, nullptr, 4, ChannelOrder::kRgb, rgb);
  EXPECT_EQ(rgb[0], 0);
  EXPECT_EQ(rgb[3], 255);
  EXPECT_EQ(rgb[6], 128);
  EXPECT_EQ(rgb[9], 1);
}

TEST(ColourRows, PicturesThatCannotBeAreRefused) {
  auto letterbox = Letterbox::create({.network_width = 32, .network_height = 32});
  ASSERT_TRUE(letterbox);
  std::vector<std::byte> out(letterbox->output_bytes());
  const auto error_of = [&](const ImageView& view) {
    const auto done = letterbox->run(view, out);
    return done ? std::string("taken") : done.error().message;
  };
  Picture odd(64, 48, Encoding::kNv12);
  odd.view.height = 47;
  EXPECT_EQ(error_of(odd.view), "image is 64x47; of nv12 the sides must be even");
  Picture narrow(64, 48, Encoding::kYuyv);
  narrow.view.width = 63;
  EXPECT_EQ(error_of(narrow.view), "image is 63x48; of yuv422_yuy2 the width must be even");
  Picture cut(64, 48, Encoding::kNv12, 0);
  cut.view.pixels = cut.view.pixels.first(64 * 48);
  EXPECT_EQ(error_of(cut.view), "image has 3072 bytes; 64x48 nv12 with step 64 needs 4608");
  Picture thin(64, 48, Encoding::kMono16);
  thin.view.step = 127;
  EXPECT_THAT(error_of(thin.view), HasSubstr("image step is 127; it must be at least 128"));
  Picture unknown(64, 48, Encoding::kBgra8);
  unknown.view.encoding = static_cast<Encoding>(77);
  EXPECT_THAT(error_of(unknown.view), HasSubstr("image encoding is 77; it must be 0..8 (bgr8, "));
}

}  // namespace
}  // namespace fovea
