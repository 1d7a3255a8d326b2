// Inner loops of the tensor operators, one table of functions per instruction set. Internal to the
// kernels.
//
// Thread safety: pure functions of their job.
#pragma once

#include <array>
#include <cstdint>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor.hpp"

namespace fovea::engine::kernels {

// Elements of one axis.
template <class Data>
struct Elements {
  Data* data = nullptr;
  std::int64_t stride = 1;  // elements
  DataType type = DataType::kFloat32;
  Grid grid{};
};

struct MapRow {
  MapOp op = MapOp::kCopy;
  Elements<const void> a;
  Elements<const void> b;  // binary operators only
  Elements<void> to;
  std::int64_t count = 0;
};

// A block of kMatMulRows x kMatMulColumns sums: to[r][c] = sum of a[k][r] * b[k][c].
inline constexpr std::int64_t kMatMulRows = 8;
inline constexpr std::int64_t kMatMulColumns = 32;
struct MatMulBlock {
  const float* a = nullptr;  // [depth][kMatMulRows]
  const float* b = nullptr;  // [depth][kMatMulColumns]
  std::int64_t depth = 0;
  float* to = nullptr;  // rows `to_stride` floats apart
  std::int64_t to_stride = 0;
};

struct NormalizedRow {
  float* row = nullptr;  // in place
  std::int64_t count = 0;
  const float* scale = nullptr;
  const float* bias = nullptr;  // null: none
  float epsilon = 0;
};

// to[i] = sum of weights[k] * from[k][i]: what GridSample does along the channels.
struct BlendRow {
  std::array<const float*, 4> from{};
  std::array<float, 4> weights{};
  std::int64_t from_stride = 1;
  std::int64_t count = 0;
  float* to = nullptr;
  std::int64_t to_stride = 1;
};

struct TensorRowFunctions {
  const char* name;
  void (*map)(const MapRow&);
  void (*softmax)(float* row, std::int64_t count);  // in place
  void (*multiply)(const MatMulBlock&);
  void (*normalize)(const NormalizedRow&);
  void (*blend)(const BlendRow&);
};

const TensorRowFunctions& scalar_tensor_rows();
const TensorRowFunctions& best_tensor_rows(const CpuFeatures& features);

}  // namespace fovea::engine::kernels
