// The inner loops of attention with AVX2 and FMA, 8 floats at a time.
#if defined(__x86_64__)

#include <algorithm>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma")

#include "nodes/detector/engine/cpu/kernels/attention_rows_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Avx2 {
  using Register = __m256;
  static constexpr const char* kName = "avx2";
  static constexpr int kLanes = 8;
  // 12 sums of 16 registers.
  static constexpr int kScoreRows = 6;
  static constexpr int kScoreVectors = 2;
  static constexpr int kMixRows = 6;
  static constexpr int kMixVectors = 2;
  static constexpr int kBlockRows = 24;

  static Register load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Register a) { _mm256_storeu_ps(to, a); }
  static Register set(float x) { return _mm256_set1_ps(x); }
  static Register fma(Register a, Register b, Register c) { return _mm256_fmadd_ps(a, b, c); }
  static Register mul(Register a, Register b) { return _mm256_mul_ps(a, b); }
  static Register add(Register a, Register b) { return _mm256_add_ps(a, b); }
  static Register sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static Register max(Register a, Register b) { return _mm256_max_ps(a, b); }
  static float highest(Register a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }
  static float sum(Register a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  static __m256i first(std::int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(std::min<std::int64_t>(count, 8))),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  // The first `count` floats, then zeros; of registers, then `rest`.
  static Register load_first(const float* from, std::int64_t count) {
    if (count >= kLanes) return load(from);
    return count <= 0 ? set(0) : _mm256_maskload_ps(from, first(count));
  }
  static Register keep_first(Register a, std::int64_t count, Register rest) {
    return _mm256_blendv_ps(rest, a, _mm256_castsi256_ps(first(count)));
  }
  // 2^x to 2.1e-7 relative, 2^-100 below that. Adding 1.5 * 2^23 rounds to the nearest integer and
  // leaves it in the lowest bits, from where it goes into the exponent. NaN stays NaN.
  static Register exp2(Register x) {
    x = max(set(-100), x);
    const Register shifted = add(x, set(12582912));
    const Register part = sub(x, sub(shifted, set(12582912)));
    Register y = fma(set(1.327647199e-03F), part, set(9.675541334e-03F));
    y = fma(y, part, set(5.550713273e-02F));
    y = fma(y, part, set(2.402211972e-01F));
    y = fma(y, part, set(6.931469671e-01F));
    y = fma(y, part, set(1.000000072e+00F));
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
  }
  // Pairs, fours, then halves of registers change places.
  static void transpose(Register (&rows)[kLanes]) {
    Register t[kLanes];
#pragma GCC unroll 4
    for (int i = 0; i < kLanes; i += 2) {
      t[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < kLanes; i += 4) {
      rows[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      rows[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
      rows[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      rows[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm256_permute2f128_ps(rows[i], rows[4 + i], 0x20);
      t[4 + i] = _mm256_permute2f128_ps(rows[i], rows[4 + i], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; ++i) rows[i] = t[i];
  }
};

}  // namespace

const AttentionFunctions& avx2_attention();

const AttentionFunctions& avx2_attention() {
  static constexpr AttentionFunctions kFunctions = attention_functions<Avx2>();
  return kFunctions;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options

#endif
