// Winograd's transforms with AVX-512: the same sums over columns, then over rows; a lane is a
// channel throughout.
#if defined(__x86_64__)

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/simd_avx512.hpp"

namespace fovea::engine::kernels {
namespace {

inline __m512 times(float factor, __m512 x) { return _mm512_mul_ps(_mm512_set1_ps(factor), x); }
// factor * x + y
inline __m512 add_times(__m512 y, float factor, __m512 x) {
  return _mm512_fmadd_ps(_mm512_set1_ps(factor), x, y);
}

constexpr int kOut = kWinogradOut;
constexpr int kSide = kWinogradSide;

void transform_line(const __m512 (&d)[kSide], __m512 (&to)[kSide]) {
  const __m512 even = add_times(d[4], -4, d[2]);
  const __m512 odd = add_times(d[3], -4, d[1]);
  const __m512 near = _mm512_sub_ps(d[4], d[2]);
  const __m512 twice = times(2, _mm512_sub_ps(d[3], d[1]));
  to[0] = add_times(add_times(d[4], -5, d[2]), 4, d[0]);
  to[1] = _mm512_add_ps(even, odd);
  to[2] = _mm512_sub_ps(even, odd);
  to[3] = _mm512_add_ps(near, twice);
  to[4] = _mm512_sub_ps(near, twice);
  to[5] = add_times(add_times(d[5], -5, d[3]), 4, d[1]);
}

void transform_line_back(const __m512 (&p)[kSide], __m512 (&to)[kOut]) {
  const __m512 ones = _mm512_add_ps(p[1], p[2]);
  const __m512 one_apart = _mm512_sub_ps(p[1], p[2]);
  const __m512 twos = _mm512_add_ps(p[3], p[4]);
  const __m512 two_apart = _mm512_sub_ps(p[3], p[4]);
  to[0] = _mm512_add_ps(_mm512_add_ps(p[0], ones), twos);
  to[1] = add_times(one_apart, 2, two_apart);
  to[2] = add_times(ones, 4, twos);
  to[3] = _mm512_add_ps(add_times(one_apart, 8, two_apart), p[5]);
}

template <DataType kSource>
__m512 load(const void* source, std::int64_t index, __mmask16 lanes) {
  if constexpr (kSource == DataType::kFloat16) {
    return _mm512_cvtph_ps(
        _mm256_maskz_loadu_epi16(lanes, static_cast<const std::uint16_t*>(source) + index));
  } else {
    return _mm512_maskz_loadu_ps(lanes, static_cast<const float*>(source) + index);
  }
}

template <DataType kSource>
void input(const WinogradInputJob& job) {
  for (std::int64_t channel = 0; channel < job.channels; channel += 16) {
    const __mmask16 lanes = first_16(job.channels - channel);
    __m512 columns[kSide][kSide];  // [column][transformed row]
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      __m512 d[kSide];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        d[y] =
            load<kSource>(job.source, y * job.row_stride + x * job.pixel_stride + channel, lanes);
      }
      transform_line(d, columns[x]);
    }
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) {
      __m512 d[kSide];
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) d[x] = columns[x][y];
      __m512 row[kSide];
      transform_line(d, row);
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) {
        _mm512_storeu_ps(job.to + (y * kSide + x) * job.to_plane + channel, row[x]);
      }
    }
  }
}

void output(const WinogradOutputJob& job) {
  for (std::int64_t channel = 0; channel < job.channels; channel += 16) {
    const __m512 bias = _mm512_loadu_ps(job.bias + channel);
    __m512 columns[kSide][kOut];
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      __m512 p[kSide];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        p[y] = _mm512_loadu_ps(job.from + (y * kSide + x) * job.from_plane + channel);
      }
      transform_line_back(p, columns[x]);
    }
#pragma GCC unroll 4
    for (int y = 0; y < kOut; ++y) {
      __m512 p[kSide];
#pragma GCC unroll 6
      for (int x = 0; x < kSide; ++x) p[x] = columns[x][y];
      __m512 row[kOut];
      transform_line_back(p, row);
#pragma GCC unroll 4
      for (int x = 0; x < kOut; ++x) {
        _mm512_storeu_ps(job.to + y * job.row_stride + x * job.pixel_stride + channel,
                         _mm512_add_ps(row[x], bias));
      }
    }
  }
}

}  // namespace

WinogradFunctions winograd_functions(DataType source) {
  return {source == DataType::kFloat16 ? input<DataType::kFloat16> : input<DataType::kFloat32>,
          output};
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options

#endif
