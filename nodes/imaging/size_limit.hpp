// How many pixels a picture or frame may have, wherever it comes from. Checked before memory is
// asked for: 100 kB of PNG can hold a picture of 10 GB.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

#include "nodes/base/result.hpp"

namespace fovea::imaging {

// 8192x8192. What is larger is, as a rule, a mistake or an attack.
inline constexpr std::uint64_t kDefaultMaxPixels = std::uint64_t{1} << 26;

// Errors: kInvalidArgument, naming both sizes and the parameter: `is 30000x30000, ...; max_pixels
// is ...`.
Result<> check_pixels(std::uint32_t width, std::uint32_t height, std::uint64_t max_pixels);

}  // namespace fovea::imaging
