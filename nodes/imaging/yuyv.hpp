// YUYV 4:2:2 (limited range, BT.601), which most USB cameras send, as bgr8.
#pragma once

#include <cstddef>

#include "nodes/imaging/image_target.hpp"

namespace fovea::imaging {

// Thread safety: pure. REQUIRES: `pixels` holds target.height rows of 2 * target.width bytes, `step`
// apart; target.width is even.
void yuyv_to_bgr(const std::byte* pixels, std::size_t step, const ImageTarget& target);

}  // namespace fovea::imaging
