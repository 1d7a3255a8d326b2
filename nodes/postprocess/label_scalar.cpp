// The readable kernels: what the vectorised ones are tested against, and the path for any CPU.
#include <algorithm>
#include <cmath>
#include <limits>

#include "nodes/postprocess/label_kernels.hpp"

namespace fovea::label_kernels {
namespace {

std::size_t find_candidates(const float* const (&corners)[4], std::size_t count,
                            std::uint16_t* found, bool& finite) {
  // Somewhere a class reaches at most its highest corner, and the greatest is nowhere below the
  // highest of all lowest corners.
  float floor = -std::numeric_limits<float>::infinity();
  for (std::size_t c = 0; c < count; ++c) {
    float lowest = corners[0][c];
    for (const float* corner : corners) {
      finite = finite && std::isfinite(corner[c]);
      lowest = std::min(lowest, corner[c]);
    }
    floor = std::max(floor, lowest);
  }
  std::size_t number = 0;
  for (std::size_t c = 0; c < count; ++c) {
    const float highest =
        std::max(std::max(corners[0][c], corners[1][c]), std::max(corners[2][c], corners[3][c]));
    if (highest >= floor) found[number++] = static_cast<std::uint16_t>(c);
  }
  return number;
}

void choose(const Line* lines, std::size_t line_count, const float* shares, std::size_t count,
            std::uint8_t* labels) {
  for (std::size_t i = 0; i < count; ++i) {
    float best = -std::numeric_limits<float>::infinity();
    float label = lines[0].label;
    for (std::size_t k = 0; k < line_count; ++k) {
      const float value = lines[k].left + shares[i] * lines[k].step;
      if (value > best) {
        best = value;
        label = lines[k].label;
      }
    }
    labels[i] = static_cast<std::uint8_t>(label);
  }
}

std::size_t run_length(const std::uint8_t* labels, std::size_t count) {
  std::size_t length = 1;
  while (length < count && labels[length] == labels[0]) ++length;
  return length;
}

}  // namespace

const Kernels& scalar_kernels() {
  static constexpr Kernels kKernels{find_candidates, choose, run_length};
  return kKernels;
}

}  // namespace fovea::label_kernels
