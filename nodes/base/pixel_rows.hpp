// How cameras lay pixels out, and any of them as RGB, row by row. The readable path; preprocess has
// a vectorised one that gives the same bytes.
//
// Pure functions. Standard library only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fovea {

// Rows are of one picture, top to bottom. YUV is BT.601 of limited range (luma 16..235).
enum class Encoding : std::uint32_t {
  kBgr8,
  kRgb8,
  kMono8,
  kMono16,  // little endian, 0..65535
  kBgra8,   // alpha counts for nothing
  kRgba8,
  kNv12,  // `height` rows of luma, then half as many of U and V in turn, each of 2 x 2 pixels
  kYuyv,  // Y0 U Y1 V of two pixels
  kUyvy,  // U Y0 V Y1
};
// ROS 2's names.
inline constexpr std::array<std::string_view, 9> kEncodingNames = {
    "bgr8", "rgb8", "mono8", "mono16", "bgra8", "rgba8", "nv12", "yuv422_yuy2", "uyvy"};

// Bytes of a row of `width` pixels, without what may pad it; 0 for a value that is no encoding.
constexpr std::uint64_t bytes_per_row(Encoding encoding, std::uint32_t width) {
  switch (encoding) {
    case Encoding::kMono8:
    case Encoding::kNv12:
      return width;
    case Encoding::kMono16:
    case Encoding::kYuyv:
    case Encoding::kUyvy:
      return std::uint64_t{width} * 2;
    case Encoding::kBgr8:
    case Encoding::kRgb8:
      return std::uint64_t{width} * 3;
    case Encoding::kBgra8:
    case Encoding::kRgba8:
      return std::uint64_t{width} * 4;
  }
  return 0;
}
// Rows of bytes that a picture of `height` rows of pixels has.
constexpr std::uint64_t rows_of_bytes(Encoding encoding, std::uint32_t height) {
  return encoding == Encoding::kNv12 ? std::uint64_t{height} + height / 2 : height;
}
// Whether pixels share colours, so that sides must be even.
constexpr bool needs_even_width(Encoding encoding) {
  return encoding == Encoding::kNv12 || encoding == Encoding::kYuyv || encoding == Encoding::kUyvy;
}
constexpr bool needs_even_height(Encoding encoding) { return encoding == Encoding::kNv12; }

enum class ChannelOrder { kRgb, kBgr };

// Writes u8 [width, 3]. `chroma`: the row of U and V that belongs to it, of kNv12 only. REQUIRES: an
// encoding; an even width where that is needed.
void convert_pixels(Encoding encoding, const std::uint8_t* row, const std::uint8_t* chroma,
                    std::size_t width, ChannelOrder order, std::uint8_t* out);

// One pixel of YUV, in fixed point of 4 bits: what every path computes.
struct Rgb {
  std::uint8_t red, green, blue;
};
Rgb rgb_of_yuv(int luma, int u, int v);

namespace yuv {
// Times 2^13.
inline constexpr int kLuma = 9539;       // 1.16438
inline constexpr int kRedOfV = 13075;    // 1.59603
inline constexpr int kGreenOfV = -6660;  // -0.81297
inline constexpr int kGreenOfU = -3209;  // -0.39176
inline constexpr int kBlueOfU = 16525;   // 2.01723
}  // namespace yuv

}  // namespace fovea
