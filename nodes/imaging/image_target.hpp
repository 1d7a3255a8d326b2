// Where a decoder or a camera writes pixels: memory that the caller owns, as a rule a loaned slot.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fovea::imaging {

// bgr8 pixels: [height, width, 3] u8, rows `step` bytes apart; the last row needs only its pixels.
// REQUIRES: step >= 3 * width.
struct ImageTarget {
  std::byte* data = nullptr;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::size_t step = 0;
};

}  // namespace fovea::imaging
