// Rows of encodings that the letterbox's kernels do not read, as RGB: a row at a time, so that no whole
// picture lies between camera and network.
//
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "nodes/preprocess/image_view.hpp"

namespace fovea {

// Whether the kernels read it as it is.
constexpr bool is_native(msgs::Encoding encoding) { return msgs::channels(encoding) != 0; }

class ColourRows {
 public:
  explicit ColourRows(bool force_scalar = false) : force_scalar_(force_scalar) {}

  // Memory for rows of so many pixels; without, begin() allocates it.
  void reserve(std::uint32_t width);
  // From now on rows are those of `source`. REQUIRES: its pixels fit, and outlive the rows.
  void begin(const ImageView& source);
  // u8 [width, 3] RGB; stays until the row after the next one is asked for.
  const std::uint8_t* row(std::uint32_t y);
  // Writes u8 [width, 3] RGB.
  void convert(std::uint32_t y, std::uint8_t* rgb) const;

 private:
  bool force_scalar_;
  ImageView source_;
  std::vector<std::uint8_t> rows_;  // two
  std::array<std::int64_t, 2> numbers_ = {-1, -1};
  std::size_t oldest_ = 0;
};

namespace colour_kernels {

// convert_pixels() to RGB. REQUIRES: YUV, an even width.
using ConvertYuv = void (*)(msgs::Encoding encoding, const std::uint8_t* row,
                            const std::uint8_t* chroma, std::size_t width, std::uint8_t* rgb);
ConvertYuv best_convert_yuv();

struct Named {
  const char* name;
  ConvertYuv convert;
};
// Everything this CPU can run, for tests.
std::vector<Named> all_convert_yuv();

}  // namespace colour_kernels

}  // namespace fovea
