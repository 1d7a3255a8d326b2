// Exact sums with vpmaddubsw, which adds the products of two neighbouring channels in 16 bits, with
// saturation. Pixels reach 255, so two neighbouring weights of one sign may not sum to more than
// 128. Where some do, a step of one register of 8 output channels is done twice, with half of its
// weights each time. Internal to the kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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

}  // namespace fovea::engine::kernels
