// Depthwise tiles with AVX-512. One multiply-add per tap and register; what costs is loading and
// widening the pixels, so that 3 wide kernels with stride 1 load each pixel once per row instead of
// three times.
#if defined(__x86_64__)

#include <cstdint>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/simd_avx512.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Floats {
  using Vector = __m512;
  static Vector load(const std::byte* from) { return _mm512_loadu_ps(from); }
  static Vector pixel(const std::byte* from, __mmask16 lanes) {
    return _mm512_maskz_loadu_ps(lanes, from);
  }
  static Vector multiply_add(Vector sum, Vector x, Vector w) { return _mm512_fmadd_ps(x, w, sum); }
  static void store(Vector sum, const DepthwiseJob& job, std::byte* to) {
    static_cast<void>(job);
    _mm512_storeu_ps(to, sum);
  }
};

struct Halves : Floats {
  static Vector pixel(const std::byte* from, __mmask16 lanes) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, from));
  }
};

struct Bytes {
  using Vector = __m512i;
  static Vector load(const std::byte* from) { return _mm512_loadu_si512(from); }
  static Vector pixel(const std::byte* from, __mmask16 lanes) {
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, from));
  }
  // Both are 16 bits in a lane of 32: the upper product is the zero above the pixel times anything.
  // As for dense tiles, the intrinsic makes g++ 12 spill.
  static Vector multiply_add(Vector sum, Vector x, Vector w) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
  }
  static void store(Vector sum, const DepthwiseJob& job, std::byte* to) {
    const __m512 result = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(job.scale),
                                          _mm512_loadu_ps(job.bias));
    if (job.codes) {
      store_codes(to, to_integer(result));
    } else {
      _mm512_storeu_ps(to, result);
    }
  }
};

// kReuse: this many taps with stride 1 and no dilation; 0: any.
template <class Math, int kWidth, int kReuse>
void pixels(const DepthwiseJob& job, std::int64_t first) {
  using Vector = typename Math::Vector;
  const __mmask16 lanes = first_16(job.lanes);
  Vector sums[kWidth];
#pragma GCC unroll 8
  for (int p = 0; p < kWidth; ++p) sums[p] = Math::load(job.start);
  const std::byte* weights = job.weights;
  for (int ky = 0; ky < job.kernel_rows; ++ky) {
    const std::byte* row = job.source + first * job.pixel_stride + ky * job.kernel_row_stride;
    if constexpr (kReuse > 0) {
      Vector w[kReuse];
#pragma GCC unroll 8
      for (int tap = 0; tap < kReuse; ++tap) w[tap] = Math::load(weights + tap * 64);
#pragma GCC unroll 16
      for (int column = 0; column < kWidth + kReuse - 1; ++column) {
        const Vector x = Math::pixel(row + column * job.pixel_stride, lanes);
#pragma GCC unroll 8
        for (int tap = 0; tap < kReuse; ++tap) {
          const int p = column - tap;
          if (p >= 0 && p < kWidth) sums[p] = Math::multiply_add(sums[p], x, w[tap]);
        }
      }
      weights += kReuse * 64;
    } else {
      for (int tap = 0; tap < job.taps; ++tap, weights += 64) {
        const Vector w = Math::load(weights);
#pragma GCC unroll 8
        for (int p = 0; p < kWidth; ++p) {
          const std::byte* at = row + p * job.pixel_stride + tap * job.tap_stride;
          sums[p] = Math::multiply_add(sums[p], Math::pixel(at, lanes), w);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kWidth; ++p) {
    Math::store(sums[p], job, job.to + (first + p) * job.to_stride);
  }
}

template <class Math, int kReuse>
void all_pixels(const DepthwiseJob& job) {
  std::int64_t pixel = 0;
  for (; pixel + 8 <= job.pixels; pixel += 8) pixels<Math, 8, kReuse>(job, pixel);
  for (; pixel + 4 <= job.pixels; pixel += 4) pixels<Math, 4, kReuse>(job, pixel);
  for (; pixel < job.pixels; ++pixel) pixels<Math, 1, kReuse>(job, pixel);
}

template <class Math>
void depthwise(const DepthwiseJob& job) {
  if (job.taps == 3 && job.pixel_stride == job.tap_stride) return all_pixels<Math, 3>(job);
  return all_pixels<Math, 0>(job);
}

}  // namespace

DepthwiseFunction depthwise_tile(DataType compute) {
  switch (compute) {
    case DataType::kUint8:
      return depthwise<Bytes>;
    case DataType::kFloat16:
      return depthwise<Halves>;
    default:
      return depthwise<Floats>;
  }
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options

#endif
