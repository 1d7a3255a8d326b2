// Inner loops over the pixels of one row, one table of functions per instruction set. Internal to
// the kernels: the finishing half of a convolution, and everything that is no convolution.
//
// Thread safety: pure functions of their job.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::kernels {

// `pixels` x `channels` elements, pixel by pixel `stride` elements apart.
struct Pixels {
  const void* data = nullptr;
  std::int64_t stride = 0;
  DataType type = DataType::kFloat32;
  Grid grid;
};

// to = quantise(activation(from) + residual). Each pixel is written `repeat` times to the right and
// on `repeat` rows.
struct PointwiseJob {
  Pixels from;
  Pixels residual;  // null data: none
  void* to = nullptr;
  std::int64_t to_stride = 0;
  std::int64_t to_row_stride = 0;  // of the second row when repeat is 2
  DataType to_type = DataType::kFloat32;
  Grid to_grid;
  int repeat = 1;
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
  Activation activation = Activation::kNone;
  float alpha = 0;  // kLeakyRelu
};

// to = clamp(table[from] + residual - residual_zero_point, 0, 255), u8, `from` read as an unsigned
// index.
struct TableJob {
  const std::uint8_t* from = nullptr;
  std::int64_t from_stride = 0;
  const std::uint8_t* table = nullptr;  // 256 entries
  const std::uint8_t* residual = nullptr;
  std::int64_t residual_stride = 0;
  std::int32_t residual_zero_point = 0;
  std::uint8_t* to = nullptr;
  std::int64_t to_stride = 0;
  std::int64_t to_row_stride = 0;
  int repeat = 1;
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
};

// to[i] = the largest of from[i + k * step], k in 0..count - 1, for every channel of every pixel.
struct MaximumJob {
  const void* from = nullptr;
  std::int64_t from_stride =
      0;                  // elements between the first candidates of neighbouring output pixels
  std::int64_t step = 0;  // elements between candidates
  int count = 1;
  void* to = nullptr;
  std::int64_t to_stride = 0;
  DataType type = DataType::kFloat32;
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
};

// to[i] = factor * the sum of from[i + k * step], k in 0..count - 1, for every channel of every pixel,
// summed in f32.
struct SumJob {
  Pixels from;            // `stride`: between the first summands of neighbouring output pixels
  std::int64_t step = 0;  // elements between summands
  int count = 1;
  float factor = 1;
  void* to = nullptr;
  std::int64_t to_stride = 0;
  DataType to_type = DataType::kFloat32;
  Grid to_grid;
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
};

struct RowFunctions {
  const char* name;
  void (*pointwise)(const PointwiseJob&);
  void (*table)(const TableJob&);
  void (*maximum)(const MaximumJob&);
  void (*sum)(const SumJob&);
};

const RowFunctions& scalar_rows();
const RowFunctions& best_rows(const CpuFeatures& features);

}  // namespace fovea::engine::kernels
