// The inner loops of the tensor operators with AVX-512, 16 elements at a time.
#if defined(__x86_64__)

#include <algorithm>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/simd_avx512.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kLanes = 16;

// Elements first, first + 1, ...; lanes that are off hold anything.
inline __m512 load(const Elements<const void>& from, std::int64_t first, __mmask16 lanes,
                   std::int64_t count) {
  const auto* floats = static_cast<const float*>(from.data);
  if (from.type == DataType::kFloat32) {
    if (from.stride == 1) return _mm512_maskz_loadu_ps(lanes, floats + first);
    if (from.stride == 0) return _mm512_set1_ps(*floats);
  } else if (from.stride == 1 && from.type == DataType::kUint8) {
    const __m128i codes =
        _mm_maskz_loadu_epi8(lanes, static_cast<const std::uint8_t*>(from.data) + first);
    const __m512i centred =
        _mm512_sub_epi32(_mm512_cvtepu8_epi32(codes), _mm512_set1_epi32(from.grid.zero_point));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(centred), _mm512_set1_ps(from.grid.scale));
  }
  alignas(64) float values[kLanes] = {};
  if (from.type == DataType::kFloat32) {
    for (std::int64_t i = 0; i < count; ++i) values[i] = floats[(first + i) * from.stride];
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = load_element(from.data, from.type, from.grid, (first + i) * from.stride);
    }
  }
  return _mm512_load_ps(values);
}

inline void store(const Elements<void>& to, std::int64_t first, __mmask16 lanes, std::int64_t count,
                  __m512 value) {
  auto* floats = static_cast<float*>(to.data);
  if (to.type == DataType::kFloat32 && to.stride == 1) {
    _mm512_mask_storeu_ps(floats + first, lanes, value);
    return;
  }
  alignas(64) float values[kLanes];
  _mm512_store_ps(values, value);
  if (to.type == DataType::kFloat32) {
    for (std::int64_t i = 0; i < count; ++i) floats[(first + i) * to.stride] = values[i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      store_element(to.data, to.type, to.grid, (first + i) * to.stride, values[i]);
    }
  }
}

template <MapOp kOp>
void map_loop(const MapRow& row) {
  for (std::int64_t i = 0; i < row.count; i += kLanes) {
    const std::int64_t count = std::min(kLanes, row.count - i);
    const __mmask16 lanes = first_16(row.count - i);
    __m512 value = load(row.a, i, lanes, count);
    if constexpr (kOp == MapOp::kSigmoid) {
      value = activate<Activation::kSigmoid>(value, value);
    } else if constexpr (kOp == MapOp::kSilu) {
      value = activate<Activation::kSilu>(value, value);
    } else if constexpr (kOp == MapOp::kRelu) {
      value = activate<Activation::kRelu>(value, value);
    } else if constexpr (kOp != MapOp::kCopy) {
      const __m512 other = load(row.b, i, lanes, count);
      if constexpr (kOp == MapOp::kAdd) value = _mm512_add_ps(value, other);
      if constexpr (kOp == MapOp::kSub) value = _mm512_sub_ps(value, other);
      if constexpr (kOp == MapOp::kMul) value = _mm512_mul_ps(value, other);
      if constexpr (kOp == MapOp::kDiv) value = _mm512_div_ps(value, other);
    }
    store(row.to, i, lanes, count, value);
  }
}

void map(const MapRow& row) {
  switch (row.op) {
    case MapOp::kCopy:
      return map_loop<MapOp::kCopy>(row);
    case MapOp::kSigmoid:
      return map_loop<MapOp::kSigmoid>(row);
    case MapOp::kSilu:
      return map_loop<MapOp::kSilu>(row);
    case MapOp::kRelu:
      return map_loop<MapOp::kRelu>(row);
    case MapOp::kAdd:
      return map_loop<MapOp::kAdd>(row);
    case MapOp::kSub:
      return map_loop<MapOp::kSub>(row);
    case MapOp::kMul:
      return map_loop<MapOp::kMul>(row);
    case MapOp::kDiv:
      return map_loop<MapOp::kDiv>(row);
  }
}

void softmax(float* row, std::int64_t count) {
  const __m512 lowest = _mm512_set1_ps(-3.4028235e38F);
  __m512 highest = lowest;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    highest = _mm512_max_ps(highest, _mm512_mask_loadu_ps(lowest, first_16(count - i), row + i));
  }
  const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(highest));
  __m512 sums = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = first_16(count - i);
    // Below e^-87 a share is nothing in f32; exponential() needs the bound.
    const __m512 x = _mm512_max_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, row + i), top),
                                   _mm512_set1_ps(-87));
    const __m512 power = exponential(x);
    sums = _mm512_mask_add_ps(sums, lanes, sums, power);
    _mm512_mask_storeu_ps(row + i, lanes, power);
  }
  const __m512 share = _mm512_set1_ps(1 / _mm512_reduce_add_ps(sums));
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = first_16(count - i);
    _mm512_mask_storeu_ps(row + i, lanes,
                          _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, row + i), share));
  }
}

void multiply(const MatMulBlock& block) {
  __m512 sums[kMatMulRows][2];
#pragma GCC unroll 8
  for (auto& row : sums) row[0] = row[1] = _mm512_setzero_ps();
  const float* a = block.a;
  const float* b = block.b;
  for (std::int64_t k = 0; k < block.depth; ++k, a += kMatMulRows, b += kMatMulColumns) {
    const __m512 left = _mm512_loadu_ps(b);
    const __m512 right = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 8
    for (std::int64_t r = 0; r < kMatMulRows; ++r) {
      const __m512 x = _mm512_set1_ps(a[r]);
      sums[r][0] = _mm512_fmadd_ps(x, left, sums[r][0]);
      sums[r][1] = _mm512_fmadd_ps(x, right, sums[r][1]);
    }
  }
#pragma GCC unroll 8
  for (std::int64_t r = 0; r < kMatMulRows; ++r) {
    _mm512_storeu_ps(block.to + r * block.to_stride, sums[r][0]);
    _mm512_storeu_ps(block.to + r * block.to_stride + 16, sums[r][1]);
  }
}

}  // namespace

const TensorRowFunctions& avx512_tensor_rows() {
  static constexpr TensorRowFunctions kRows{"avx512", map, softmax, multiply};
  return kRows;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options

#endif
