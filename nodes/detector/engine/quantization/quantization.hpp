// What 8 bits add to a network: the grid of every value that is stored in u8, and per layer the
// arithmetic it runs in. The builder fills it in from a calibration; a provider only obeys:
//
//   - A value with a grid is stored as u8 on that grid, any other value as f32.
//   - A kInt8 convolution reads u8, has s8 weights (quantize_weights()) and exact 32-bit sums. With
//     a pre-activation grid, the sum is rounded to an s8 code of that grid and a table of 256
//     entries gives the u8 output. Without, bias, activation and residual are computed in f32 from
//     the sum, then rounded to the output's grid, if it has one ("exact activation").
//   - Any other layer computes in f32, whatever its inputs and outputs are stored in.
//   - Layers that only move data (moves_data()) have one grid for all their inputs and outputs, as
//     a convolution has for its residual and its output: concat, split, pooling, upsampling and
//     residual sums never convert.
//
// Thread safety: plain data and pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/detector/engine/precision.hpp"

namespace fovea::engine {

struct Constant;
struct Layer;
struct NetworkDefinition;

// Bounds of every scale; beyond them a product of scales could leave f32.
inline constexpr float kSmallestScale = 1e-9F;
inline constexpr float kLargestScale = 1e9F;

// Affine 8-bit grid: real = (code - zero_point) * scale. Scale 0 = none.
struct QuantizationGrid {
  float scale = 0;
  std::int32_t zero_point = 0;  // 0..255 for u8 values, -128..127 for s8 pre-activations

  explicit operator bool() const { return scale > 0; }
  bool operator==(const QuantizationGrid&) const = default;

  // The least affine grid of 256 codes over [low, high], in which 0 has a code. `first` is the
  // lowest code: 0 or -128. REQUIRES: finite ends, low <= high.
  static QuantizationGrid over(float low, float high, std::int32_t first);
  // Over all that two u8 grids reach; equal ones stay as they are.
  static QuantizationGrid covering(const QuantizationGrid& a, const QuantizationGrid& b);
};
// No grid, or one whose arithmetic stays within f32. `first` is the lowest code: 0 or -128.
bool valid_grid(const QuantizationGrid& grid, std::int32_t first);

struct LayerQuantization {
  Precision precision = Precision::kFp32;
  QuantizationGrid pre_activation;  // s8; kInt8 convolutions with a table epilogue only
  // What the lowest and the highest code of `pre_activation` stand for behind the activation. They
  // also hold what lies beyond the grid, so it is the mean of that, not the activation of their
  // centres.
  float low_value = 0;
  float high_value = 0;

  bool operator==(const LayerQuantization&) const = default;
};

// Part of a NetworkDefinition; empty for a network without 8 bits. kImageInput's output has scale 1
// and zero point 0 where a kInt8 convolution reads it: in a lowered network it is 0..255, and the
// 1/255 is part of the weights.
struct Quantization {
  std::vector<QuantizationGrid> values;   // by ValueId
  std::vector<LayerQuantization> layers;  // by index into NetworkDefinition::layers

  bool empty() const { return values.empty() && layers.empty(); }
  bool operator==(const Quantization&) const = default;
};

// Symmetric, one scale per output channel: the largest magnitude is 127, or, of weights that were
// rounded before (all are whole multiples of the largest by some number below 127), that number, so
// that nothing is rounded twice. A channel of zeros has scale 1.
struct QuantizedWeights {
  std::vector<std::int8_t> codes;  // as the weights lie
  std::vector<float> scales;
};
// REQUIRES: finite weights, a multiple of `out_channels` of them, output channels outermost.
QuantizedWeights quantize_weights(std::span<const float> weights, std::int64_t out_channels);

// The same as constants: packed() or plain f32, the other's numbers but for rounding. REQUIRES:
// what quantize_weights() does; packed weights.
Constant pack_weights(const Constant& weights);
Constant unpack_weights(const Constant& packed);
// Packs the weights that only kInt8 convolutions read, in place: a quarter of the memory and of the
// plan's file, and nothing to compute when the plan is loaded. REQUIRES: check_quantization().
void pack_weights(NetworkDefinition& network);
// All weights plain again, for providers without 8-bit kernels.
void unpack_weights(NetworkDefinition& network);

// True if `layer` writes what it reads, moved or the maximum of it: channel-wise Concat and Split,
// MaxPool, and Resize that repeats every pixel 2 x 2 times; on f32 [N, C, H, W].
// REQUIRES: inferred shapes.
bool moves_data(const NetworkDefinition& network, const Layer& layer);

// True if `layer` can be kInt8, given grids: a dense (ungrouped) Conv with constant weights.
// REQUIRES: inferred shapes.
bool can_be_int8(const NetworkDefinition& network, const Layer& layer);

// Which values must share one grid, as the smallest ValueId of each set; kNoValue (-1) for a value
// that cannot be u8: network inputs and outputs, constants, and what is written or read by anything
// but convolutions, kImageInput and layers that move data. REQUIRES: inferred shapes.
std::vector<std::int32_t> shared_grids(const NetworkDefinition& network);

// network.quantization against the rules above; a plan may be forged. REQUIRES: inferred shapes.
// Errors: kCorrupt, naming the value or layer.
Result<> check_quantization(const NetworkDefinition& network);

}  // namespace fovea::engine
