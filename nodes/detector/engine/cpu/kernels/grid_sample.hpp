// GridSample on tensors of any strides: deformable attention reads a few places of a map for each of
// its queries. Fast where the channels of a pixel lie side by side, as transposed views have them.
// Implementations: those of tensor_rows.hpp.
#pragma once

#include <memory>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor.hpp"

namespace fovea::engine::kernels {

enum class SamplePadding : std::uint8_t { kZeros, kBorder, kReflection };

// to[n, c, y, x] = from[n, c] at grid[n, y, x], which is x and y of -1..1 across the picture.
// Addresses: sources = {from, grid}, destinations = {to}. All f32.
struct GridSampleSpec {
  std::int64_t batch = 0;
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t out_height = 0;
  std::int64_t out_width = 0;
  bool nearest = false;        // else bilinear
  bool align_corners = false;  // -1 and 1 are the centres of the outer pixels, not their edges
  SamplePadding padding = SamplePadding::kZeros;
  TensorView from;  // strides of batch, channels, height, width
  TensorView grid;  // of batch, height, width, 2
  TensorView to;    // of batch, channels, height, width
};
// Errors: kInvalidArgument for extents or views that contradict each other.
Result<std::unique_ptr<const Kernel>> create_grid_sample(
    const GridSampleSpec& spec, const CpuFeatures& features = cpu_features());

}  // namespace fovea::engine::kernels
