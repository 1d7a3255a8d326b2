// Pictures of another size: each value a mixture of its neighbours, as linear Resize has it.
// Implementations: "rows", which the compiler vectorises across channels.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::kernels {

// One row or column of the result: (1 - fraction) of the source's `low` and fraction of its `high`.
struct InterpolationTap {
  std::int64_t low = 0;
  std::int64_t high = 0;
  float fraction = 0;
};

// to[y, x] = rows[y] of columns[x] of from, computed in f32, between any two types and grids.
// Addresses: sources = {from}, destinations = {to}. Costs a conversion per row of the source, then two
// multiplications per value.
struct InterpolationSpec {
  std::int64_t height = 0;  // of the source
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<InterpolationTap> rows;  // of the result, from top to bottom
  std::vector<InterpolationTap> columns;
  Surface from{};
  Surface to{};
};
// Errors: kInvalidArgument for a spec that contradicts itself.
Result<std::unique_ptr<const Kernel>> create_interpolation(
    const InterpolationSpec& spec, const CpuFeatures& features = cpu_features());

}  // namespace fovea::engine::kernels
