// The inner loop of a depthwise convolution: 16 channels of some neighbouring pixels of one row.
// Internal to the kernels. A lane is one channel from load to result, so that no sum crosses lanes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::kernels {

// Strides in bytes.
struct DepthwiseJob {
  const std::byte* source = nullptr;  // first tap of the first pixel, first channel
  std::int64_t pixel_stride = 0;
  std::int64_t kernel_row_stride = 0;
  std::int64_t tap_stride = 0;
  int kernel_rows = 0;
  int taps = 0;
  int lanes = 16;                      // channels that exist; the others are neither read nor right
  const std::byte* weights = nullptr;  // [kernel_rows][taps][16][4 bytes]
  const std::byte* start = nullptr;    // what the 16 sums start from
  const float* scale = nullptr;        // result = sum * scale + bias (floats: the sum)
  const float* bias = nullptr;
  std::byte* to = nullptr;  // 16 f32 per pixel, or s8 where `codes`
  std::int64_t to_stride = 0;
  bool codes = false;
  std::int64_t pixels = 0;
};

using DepthwiseFunction = void (*)(DepthwiseJob);

// For pixels and weights of `compute`'s type; u8 weights are s8 widened to 32 bits.
struct DepthwiseImplementation {
  std::string_view isa{};  // empty: this CPU has none for the type
  DepthwiseFunction tile = nullptr;
};
DepthwiseImplementation best_depthwise(DataType compute, const CpuFeatures& features);

}  // namespace fovea::engine::kernels
