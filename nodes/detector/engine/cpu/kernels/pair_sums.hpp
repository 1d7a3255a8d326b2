// Exact sums with vpmaddubsw, which adds the products of two neighbouring channels in 16 bits, with
// saturation. Pixels reach 255, so two neighbouring weights of one sign may not sum to more than
// 128. Where some do, a step of one register of 8 output channels is done twice, with half of its
// weights each time. Where many do, steps multiply the weights' magnitudes, as unsigned bytes, with
// pixels less 128, as signed ones, whose bits are flipped where the weight is negative: no sum of
// two leaves 16 bits, for a third more work. Internal to the kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

namespace fovea::engine::kernels {

// The second halves of a register's weights: the steps that have one, and 32 bytes each.
struct SecondHalves {
  std::vector<std::int32_t> steps;
  std::vector<std::byte> weights;
};

// Leaves in `packed`, weights [steps][registers][8][4 bytes], what may be summed in pairs, and
// returns by register what must be added.
std::vector<SecondHalves> halve_large_pairs(std::byte* packed, std::int64_t steps,
                                            std::int64_t registers);

// Weights by registers of 32 bytes, each to two: magnitudes, and what pixels are xor-ed with, which
// makes pixels less kFlippedOffset of them.
inline constexpr PixelOffset kFlippedOffset = {128, 127};
void split_signs(const std::byte* packed, std::int64_t bytes, std::byte* split);

}  // namespace fovea::engine::kernels
