// One element at a time: activations, and elements of any type as f32. What the scalar kernels are
// made of, and the definition of the rounding that the vector kernels reproduce.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::kernels {

inline float activate(Activation activation, float alpha, float x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kRelu:
      return std::max(x, 0.0F);
    case Activation::kLeakyRelu:
      return x < 0 ? x * alpha : x;
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kHardSwish:
      return x * std::clamp(x / 6 + 0.5F, 0.0F, 1.0F);
  }
  return x;
}

// Nearest code, ties to even; NaN becomes 0. One fused multiply-add, as the vector kernels do it.
inline std::uint8_t quantise(const Grid& grid, float value) {
  const float code = std::fma(value, 1 / grid.scale, static_cast<float>(grid.zero_point));
  return code > 0 ? static_cast<std::uint8_t>(std::nearbyint(std::min(code, 255.0F)))
                  : std::uint8_t{0};
}

inline float dequantise(const Grid& grid, std::int32_t code) {
  return static_cast<float>(code - grid.zero_point) * grid.scale;
}

// `value` as the floating point type `type` holds it.
inline float rounded_to(DataType type, float value) {
  if (type == DataType::kFloat16) return half_to_float(float_to_half(value));
  if (type == DataType::kBfloat16) return bfloat_to_float(float_to_bfloat(value));
  return value;
}

inline float load_element(const void* data, DataType type, const Grid& grid, std::int64_t index) {
  switch (type) {
    case DataType::kUint8:
      return dequantise(grid, static_cast<const std::uint8_t*>(data)[index]);
    case DataType::kFloat16:
      return half_to_float(static_cast<const std::uint16_t*>(data)[index]);
    case DataType::kBfloat16:
      return bfloat_to_float(static_cast<const std::uint16_t*>(data)[index]);
    default:
      return static_cast<const float*>(data)[index];
  }
}

inline void store_element(void* data, DataType type, const Grid& grid, std::int64_t index,
                          float value) {
  switch (type) {
    case DataType::kUint8:
      static_cast<std::uint8_t*>(data)[index] = quantise(grid, value);
      return;
    case DataType::kFloat16:
      static_cast<std::uint16_t*>(data)[index] = float_to_half(value);
      return;
    case DataType::kBfloat16:
      static_cast<std::uint16_t*>(data)[index] = float_to_bfloat(value);
      return;
    default:
      static_cast<float*>(data)[index] = value;
      return;
  }
}

}  // namespace fovea::engine::kernels
