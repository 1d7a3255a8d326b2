// Operators on tensors of any rank and any strides: element by element, Softmax, LayerNormalization
// and MatMul. With
// strides, reshapes, transposes, splits and slices are other views of the same memory, so that the
// attention of a detector and the decoding of its head read pictures where the convolutions left
// them. Implementations: avx512, scalar.
#pragma once

#include <memory>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::kernels {

// Type and layout of a tensor; extents come with the operator.
struct TensorView {
  DataType type = DataType::kFloat32;  // kFloat32, kFloat16 or kUint8
  Grid grid{};                         // kUint8 only
  Dims strides;                        // in elements, by axis; 0 repeats
};

enum class MapOp : std::uint8_t {
  kCopy,
  kSigmoid,
  kSilu,
  kRelu,
  kErf,   // to 3e-7
  kGelu,  // by the error function
  kAdd,
  kSub,
  kMul,
  kDiv
};
inline bool is_binary(MapOp op) { return op >= MapOp::kAdd; }

// An operand that is known when the kernel is created has its values here, strides apply to them;
// others come as an address.
struct MapOperand {
  TensorView view;
  std::vector<float> constant = {};
};
// to = op(a) or op(a, b), element by element, computed in f32.
// Addresses: sources = the operands that are no constants, in order; destinations = {to}.
struct MapSpec {
  MapOp op = MapOp::kCopy;
  Dims extents;
  std::vector<MapOperand> operands;  // one, or two if is_binary(op)
  TensorView to;
};
// Errors: kInvalidArgument for ranks, extents or operands that contradict each other.
Result<std::unique_ptr<const Kernel>> create_map(const MapSpec& spec,
                                                 const CpuFeatures& features = cpu_features());

// Softmax along `axis`. Addresses: sources = {from}, destinations = {to}.
struct SoftmaxSpec {
  Dims extents;
  std::size_t axis = 0;
  TensorView from;
  TensorView to;
};
Result<std::unique_ptr<const Kernel>> create_softmax(const SoftmaxSpec& spec,
                                                     const CpuFeatures& features = cpu_features());

// Along the last axis: (x - mean) / sqrt(variance + epsilon) * scale + bias. Addresses: sources =
// {from}, destinations = {to}.
struct LayerNormalizationSpec {
  Dims extents;
  TensorView from;
  TensorView to;
  std::vector<float> scale;  // one per element of the axis
  std::vector<float> bias;   // the same, or empty
  float epsilon = 0;
};
Result<std::unique_ptr<const Kernel>> create_layer_normalization(
    const LayerNormalizationSpec& spec, const CpuFeatures& features = cpu_features());

// to[..., m, n] = sum over k of a[..., m, k] * b[..., k, n], plus bias[n], f32 sums.
// Addresses: sources = {a, b}, or {a} with `weights`; destinations = {to}.
struct MatMulSpec {
  Dims batch;  // of `to`; strides of 0 repeat an operand
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t depth = 0;
  TensorView a;  // strides of batch, rows, depth
  TensorView b;  // of batch, depth, columns
  TensorView to;
  std::vector<float> weights = {};  // b, if it is known: then its strides of batch are 0
  std::vector<float> bias = {};     // one per column, or none
};
// Errors of all: kInvalidArgument, as create_map().
Result<std::unique_ptr<const Kernel>> create_matmul(const MatMulSpec& spec,
                                                    const CpuFeatures& features = cpu_features());

}  // namespace fovea::engine::kernels
