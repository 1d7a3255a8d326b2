// A picture in borrowed memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "msgs/image.hpp"

namespace fovea {

// `height` rows of `width` pixels, rows `step` bytes apart. The last row needs only its pixels, not
// the whole step.
struct ImageView {
  std::span<const std::byte> pixels;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t step = 0;
  msgs::Encoding encoding = msgs::Encoding::kBgr8;
};

}  // namespace fovea
