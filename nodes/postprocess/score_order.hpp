// Candidates by falling score, the same on every machine.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fovea {

// Replaces `order`: the lower half of each element is the number of a candidate, best first, equal
// scores in the order of `candidates`. Allocates only to make room for more than ever before.
// REQUIRES: scores >= 0.
template <class Candidates>
void sort_by_score(const Candidates& candidates, std::vector<std::uint64_t>& order) {
  // The bits of floats >= 0 sort like the floats, so one integer holds both sort keys.
  order.clear();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto score_bits = std::bit_cast<std::uint32_t>(candidates[i].score + 0.0f);
    order.push_back(std::uint64_t{~score_bits} << 32 | i);
  }
  std::sort(order.begin(), order.end());
}

}  // namespace fovea
