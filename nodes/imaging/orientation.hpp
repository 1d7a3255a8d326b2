// How stored pixels must be turned to stand upright: Exif's eight values, which a video's display
// matrix is translated into. Pictures and videos are turned here and nowhere else.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "nodes/imaging/image_target.hpp"

namespace fovea::imaging {

// Values are Exif's (tag 0x0112). The name says what is done to the stored pixels.
enum class Orientation : std::uint8_t {
  kUpright = 1,
  kMirror = 2,  // left and right change places
  kHalfTurn = 3,
  kFlip = 4,  // top and bottom change places
  kTranspose = 5,
  kQuarterTurn = 6,  // clockwise
  kTransverse = 7,
  kThreeQuarterTurn = 8,
};

// Exif's number; what is none of its eight is upright, as viewers take it.
constexpr Orientation orientation_from_exif(std::uint32_t value) {
  return value >= 1 && value <= 8 ? static_cast<Orientation>(value) : Orientation::kUpright;
}

// Width and height change places.
constexpr bool swaps_sides(Orientation orientation) {
  return orientation >= Orientation::kTranspose;
}

// A video's display matrix (ISO/IEC 14496-12, 6.2.2: a b u c d v x y w). nullopt if it turns by
// another angle than a multiple of 90 degrees, or is singular.
std::optional<Orientation> orientation_from_matrix(std::span<const std::int32_t, 9> matrix);

// Writes the stored bgr8 picture upright into `target`; every byte once. REQUIRES: `target` has the
// upright size and does not overlap `pixels`.
void place_upright(const std::byte* pixels, std::size_t step, Orientation orientation,
                   const ImageTarget& target);

}  // namespace fovea::imaging
