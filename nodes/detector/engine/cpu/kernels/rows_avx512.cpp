// The row functions with AVX-512. Only the functions of this file are compiled for it (the pragma
// below follows all standard headers), so nothing that other files share can leak an instruction
// that a CPU lacks.
#include <cstdint>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/rows_template.hpp"

#pragma GCC push_options
#pragma GCC target("avx512vbmi")

#include "nodes/detector/engine/cpu/kernels/avx512_table.hpp"

namespace fovea::engine::kernels {
namespace {

// Pixels of 16 (32) channels: one lookup serves four (two).
template <int kChannels>
struct Narrow {
  static constexpr std::int64_t kPixels = 64 / kChannels;

  static __m512i load(const std::uint8_t* from, std::int64_t stride, std::int64_t count) {
    __m512i all = _mm512_setzero_si512();
    if constexpr (kChannels == 16) {
      const auto pixel = [&](std::int64_t i) __attribute__((target("avx512f,avx512bw,avx512vl"))) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * stride));
      };
      all = _mm512_castsi128_si512(pixel(0));
      if (count > 1) all = _mm512_inserti32x4(all, pixel(1), 1);
      if (count > 2) all = _mm512_inserti32x4(all, pixel(2), 2);
      if (count > 3) all = _mm512_inserti32x4(all, pixel(3), 3);
    } else {
      const auto pixel = [&](std::int64_t i) __attribute__((target("avx512f,avx512bw,avx512vl"))) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i * stride));
      };
      all = _mm512_castsi256_si512(pixel(0));
      if (count > 1) all = _mm512_inserti64x4(all, pixel(1), 1);
    }
    return all;
  }

  static void store(std::uint8_t* to, std::int64_t stride, std::int64_t count, __m512i all) {
    const auto put = [&](auto part, std::int64_t i)
        __attribute__((target("avx512f,avx512bw,avx512vl"))) {
      if (i >= count) return;
      if constexpr (sizeof(part) == 16) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * stride), part);
      } else {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * stride), part);
      }
    };
    if constexpr (kChannels == 16) {
      put(_mm512_castsi512_si128(all), 0);
      put(_mm512_extracti32x4_epi32(all, 1), 1);
      put(_mm512_extracti32x4_epi32(all, 2), 2);
      put(_mm512_extracti32x4_epi32(all, 3), 3);
    } else {
      put(_mm512_castsi512_si256(all), 0);
      put(_mm512_extracti64x4_epi64(all, 1), 1);
    }
  }
};

}  // namespace
}  // namespace fovea::engine::kernels

#include "nodes/detector/engine/cpu/kernels/table_template.hpp"

#pragma GCC pop_options
#pragma GCC pop_options

namespace fovea::engine::kernels {

const RowFunctions& avx2_rows();

const RowFunctions& avx512_rows(bool vbmi) {
  static const RowFunctions kVbmi{"avx512_vbmi", pointwise, table, maximum, sum};
  static const RowFunctions kPlain{"avx512", pointwise, avx2_rows().table, maximum, sum};
  return vbmi ? kVbmi : kPlain;
}

}  // namespace fovea::engine::kernels
