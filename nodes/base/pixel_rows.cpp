#include "nodes/base/pixel_rows.hpp"

#include <algorithm>

namespace fovea {

namespace {

// As MulFixedPoint15 of Highway: 6 bits of `value` and 13 of the factor become 4.
int product(int value, int factor) { return (value * 64 * factor + (1 << 14)) >> 15; }

std::uint8_t byte_of(int sum) {
  return static_cast<std::uint8_t>(std::clamp((sum + 8) >> 4, 0, 255));
}

class Writer {
 public:
  Writer(ChannelOrder order, std::uint8_t* out)
      : red_(order == ChannelOrder::kRgb ? 0 : 2), out_(out) {}

  void put(std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
    out_[red_] = red;
    out_[1] = green;
    out_[2 - red_] = blue;
    out_ += 3;
  }
  void put(const Rgb& rgb) { put(rgb.red, rgb.green, rgb.blue); }

 private:
  std::size_t red_;
  std::uint8_t* out_;
};

}  // namespace

Rgb rgb_of_yuv(int luma, int u, int v) {
  const int y = product(std::max(luma - 16, 0), yuv::kLuma);
  u -= 128;
  v -= 128;
  return {byte_of(y + product(v, yuv::kRedOfV)),
          byte_of(y + product(v, yuv::kGreenOfV) + product(u, yuv::kGreenOfU)),
          byte_of(y + product(u, yuv::kBlueOfU))};
}

void convert_pixels(Encoding encoding, const std::uint8_t* row, const std::uint8_t* chroma,
                    std::size_t width, ChannelOrder order, std::uint8_t* out) {
  Writer to(order, out);
  switch (encoding) {
    case Encoding::kBgr8:
      for (std::size_t x = 0; x < width; ++x, row += 3) to.put(row[2], row[1], row[0]);
      return;
    case Encoding::kRgb8:
      for (std::size_t x = 0; x < width; ++x, row += 3) to.put(row[0], row[1], row[2]);
      return;
    case Encoding::kBgra8:
      for (std::size_t x = 0; x < width; ++x, row += 4) to.put(row[2], row[1], row[0]);
      return;
    case Encoding::kRgba8:
      for (std::size_t x = 0; x < width; ++x, row += 4) to.put(row[0], row[1], row[2]);
      return;
    case Encoding::kMono8:
      for (std::size_t x = 0; x < width; ++x) to.put(row[x], row[x], row[x]);
      return;
    case Encoding::kMono16:
      for (std::size_t x = 0; x < width; ++x, row += 2) {
        const unsigned value = row[0] + 256U * row[1];
        const auto gray = static_cast<std::uint8_t>((value + 128) / 257);  // 65535 becomes 255
        to.put(gray, gray, gray);
      }
      return;
    case Encoding::kNv12:
      for (std::size_t x = 0; x + 1 < width; x += 2) {
        to.put(rgb_of_yuv(row[x], chroma[x], chroma[x + 1]));
        to.put(rgb_of_yuv(row[x + 1], chroma[x], chroma[x + 1]));
      }
      return;
    case Encoding::kYuyv:
      for (std::size_t x = 0; x + 1 < width; x += 2, row += 4) {
        to.put(rgb_of_yuv(row[0], row[1], row[3]));
        to.put(rgb_of_yuv(row[2], row[1], row[3]));
      }
      return;
    case Encoding::kUyvy:
      for (std::size_t x = 0; x + 1 < width; x += 2, row += 4) {
        to.put(rgb_of_yuv(row[1], row[0], row[2]));
        to.put(rgb_of_yuv(row[3], row[0], row[2]));
      }
      return;
  }
}

}  // namespace fovea
