#include "nodes/detector/engine/program/strides.hpp"

#include <algorithm>

namespace fovea::engine {

Dims row_major(const Dims& extents) {
  Dims strides(extents.size(), 1);
  for (std::size_t i = extents.size(); i-- > 1;) strides[i - 1] = strides[i] * extents[i];
  return strides;
}

std::vector<std::int64_t> known_ints(const KnownValues& known, const Layer& layer,
                                     std::size_t input) {
  if (input >= layer.inputs.size() || layer.inputs[input] == kNoValue) return {};
  const auto& constant = known[static_cast<std::size_t>(layer.inputs[input])];
  if (!constant) return {};
  return {constant->data<std::int64_t>(), constant->data<std::int64_t>() + constant->size()};
}

std::optional<Dims> reshape_strides(const Dims& extents, const Dims& strides, const Dims& to) {
  // Axes that lie as one, outermost first; then `to` must cut each of them evenly.
  struct Run {
    std::int64_t extent;
    std::int64_t stride;
  };
  std::vector<Run> runs;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] == 1) continue;
    if (!runs.empty() && runs.back().stride == strides[i] * extents[i]) {
      runs.back() = {runs.back().extent * extents[i], strides[i]};
    } else {
      runs.push_back({extents[i], strides[i]});
    }
  }
  Dims result(to.size(), 0);
  for (std::size_t i = to.size(); i-- > 0;) {
    if (to[i] == 1) continue;
    if (runs.empty() || runs.back().extent % to[i] != 0) return std::nullopt;
    Run& run = runs.back();
    result[i] = run.stride;
    run = {run.extent / to[i], run.stride * to[i]};
    if (run.extent == 1) runs.pop_back();
  }
  return result;
}

std::optional<Dims> common_extents(const Dims& a, const Dims& b) {
  Dims result;
  std::int64_t left_of_a = 1;
  std::int64_t left_of_b = 1;
  for (std::size_t i = a.size(), j = b.size();;) {
    while (left_of_a == 1 && i > 0) left_of_a = a[--i];
    while (left_of_b == 1 && j > 0) left_of_b = b[--j];
    const std::int64_t part = std::min(left_of_a, left_of_b);
    if (left_of_a % part != 0 || left_of_b % part != 0) return std::nullopt;
    if (part == 1) break;
    result.insert(result.begin(), part);
    left_of_a /= part;
    left_of_b /= part;
  }
  return result;
}

}  // namespace fovea::engine
