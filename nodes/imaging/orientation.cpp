#include "nodes/imaging/orientation.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace fovea::imaging {

std::optional<Orientation> orientation_from_matrix(std::span<const std::int32_t, 9> matrix) {
  // A pixel at (x, y) is shown at (a x + c y, b x + d y), moved into the picture.
  const double a = matrix[0];
  const double b = matrix[1];
  const double c = matrix[3];
  const double d = matrix[4];
  const auto negligible = [](double small, double large) {
    return std::abs(small) <= 0.01 * std::abs(large);
  };
  if (a != 0 && d != 0 && negligible(b, a) && negligible(c, d)) {
    if (a > 0) return d > 0 ? Orientation::kUpright : Orientation::kFlip;
    return d > 0 ? Orientation::kMirror : Orientation::kHalfTurn;
  }
  if (b != 0 && c != 0 && negligible(a, b) && negligible(d, c)) {
    if (c > 0) return b > 0 ? Orientation::kTranspose : Orientation::kThreeQuarterTurn;
    return b > 0 ? Orientation::kQuarterTurn : Orientation::kTransverse;
  }
  return std::nullopt;
}

void place_upright(const std::byte* pixels, std::size_t step, Orientation orientation,
                   const ImageTarget& target) {
  constexpr std::ptrdiff_t kPixel = 3;
  constexpr std::uint32_t kTile = 64;  // both sides' rows of a tile stay in the first-level cache
  const bool swapped = swaps_sides(orientation);
  const auto width = static_cast<std::ptrdiff_t>(swapped ? target.height : target.width);
  const auto height = static_cast<std::ptrdiff_t>(swapped ? target.width : target.height);
  const auto row = static_cast<std::ptrdiff_t>(step);
  const bool from_right =
      orientation == Orientation::kMirror || orientation == Orientation::kHalfTurn ||
      orientation == Orientation::kTransverse || orientation == Orientation::kThreeQuarterTurn;
  const bool from_bottom =
      orientation == Orientation::kHalfTurn || orientation == Orientation::kFlip ||
      orientation == Orientation::kQuarterTurn || orientation == Orientation::kTransverse;
  const std::byte* first =
      pixels + (from_right ? (width - 1) * kPixel : 0) + (from_bottom ? (height - 1) * row : 0);
  const std::ptrdiff_t stored_x = from_right ? -kPixel : kPixel;
  const std::ptrdiff_t stored_y = from_bottom ? -row : row;
  const std::ptrdiff_t along = swapped ? stored_y : stored_x;  // a step to the right in the target
  const std::ptrdiff_t down = swapped ? stored_x : stored_y;

  if (along == kPixel) {
    for (std::uint32_t y = 0; y < target.height; ++y) {
      std::memcpy(target.data + y * target.step, first + y * down, std::size_t{3} * target.width);
    }
    return;
  }
  for (std::uint32_t top = 0; top < target.height; top += kTile) {
    const std::uint32_t bottom = std::min(top + kTile, target.height);
    for (std::uint32_t left = 0; left < target.width; left += kTile) {
      const std::uint32_t right = std::min(left + kTile, target.width);
      for (std::uint32_t y = top; y < bottom; ++y) {
        std::byte* to = target.data + y * target.step + std::size_t{3} * left;
        const std::byte* from = first + y * down + left * along;
        for (std::uint32_t x = left; x < right; ++x, to += kPixel, from += along) {
          to[0] = from[0];
          to[1] = from[1];
          to[2] = from[2];
        }
      }
    }
  }
}

}  // namespace fovea::imaging
