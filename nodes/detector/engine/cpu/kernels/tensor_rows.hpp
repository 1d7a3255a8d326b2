// Inner loops of the tensor operators, one table of functions per instruction set. Internal to the
// kernels.
//
// Thread safety: pure functions of their job.
#pragma once

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

struct TensorRowFunctions {
  const char* name;
  void (*map)(const MapRow&);
  void (*softmax)(float* row, std::int64_t count);  // in place
  void (*multiply)(const MatMulBlock&);
};

const TensorRowFunctions& scalar_tensor_rows();
const TensorRowFunctions& best_tensor_rows(const CpuFeatures& features);

}  // namespace fovea::engine::kernels
