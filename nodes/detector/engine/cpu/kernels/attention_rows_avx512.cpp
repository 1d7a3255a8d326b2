// The inner loops of attention with AVX-512, 16 floats at a time.
#if defined(__x86_64__)

#include <algorithm>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")

#include "nodes/detector/engine/cpu/kernels/attention_rows_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Avx512 {
  using Register = __m512;
  static constexpr const char* kName = "avx512";
  static constexpr int kLanes = 16;
  // 24 sums of 32 registers for scores, 16 for values.
  static constexpr int kScoreRows = 8;
  static constexpr int kScoreVectors = 3;
  static constexpr int kMixRows = 8;
  static constexpr int kMixVectors = 2;
  static constexpr int kBlockRows = 8;

  static Register load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Register a) { _mm512_storeu_ps(to, a); }
  static Register set(float x) { return _mm512_set1_ps(x); }
  static Register fma(Register a, Register b, Register c) { return _mm512_fmadd_ps(a, b, c); }
  static Register mul(Register a, Register b) { return _mm512_mul_ps(a, b); }
  static Register add(Register a, Register b) { return _mm512_add_ps(a, b); }
  static Register sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
  static Register max(Register a, Register b) { return _mm512_max_ps(a, b); }
  static float highest(Register a) { return _mm512_reduce_max_ps(a); }
  static float sum(Register a) { return _mm512_reduce_add_ps(a); }
  static __mmask16 first(std::int64_t count) {
    return static_cast<__mmask16>(count >= kLanes ? 0xffff : (1U << count) - 1);
  }
  // The first `count` > 0 floats, then zeros; of registers, then `rest`.
  static Register load_first(const float* from, std::int64_t count) {
    return count <= 0 ? set(0) : _mm512_maskz_loadu_ps(first(count), from);
  }
  static Register keep_first(Register a, std::int64_t count, Register rest) {
    return _mm512_mask_mov_ps(rest, first(count), a);
  }
  // 2^x to 1.5e-7 relative, 2^-100 below that: products of smaller numbers with values, and sums of
  // them, would leave f32's normal range, where each takes some hundred cycles. A polynomial for the
  // part behind the point, the rest is the exponent. NaN stays NaN.
  static Register exp2(Register x) {
    x = max(set(-100), x);
    const Register part = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
    Register y = fma(set(1.877576675e-03F), part, set(8.989340091e-03F));
    y = fma(y, part, set(5.582631805e-02F));
    y = fma(y, part, set(2.401536170e-01F));
    y = fma(y, part, set(6.931530732e-01F));
    y = fma(y, part, set(9.999999251e-01F));
    return _mm512_scalef_ps(y, x);
  }
  static __m512d pairs(Register a) { return _mm512_castps_pd(a); }
  // Pairs, fours, then quarters of registers change places.
  static void transpose(Register (&rows)[kLanes]) {
    Register t[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes; i += 2) {
      t[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kLanes; i += 4) {
      rows[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs(t[i]), pairs(t[i + 2])));
      rows[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs(t[i]), pairs(t[i + 2])));
      rows[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs(t[i + 1]), pairs(t[i + 3])));
      rows[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs(t[i + 1]), pairs(t[i + 3])));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Register a = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0x88);
      const Register b = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0x88);
      const Register c = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0xdd);
      const Register d = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0xdd);
      t[i] = _mm512_shuffle_f32x4(a, b, 0x88);
      t[8 + i] = _mm512_shuffle_f32x4(a, b, 0xdd);
      t[4 + i] = _mm512_shuffle_f32x4(c, d, 0x88);
      t[12 + i] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) rows[i] = t[i];
  }
};

}  // namespace

const AttentionFunctions& avx512_attention();

const AttentionFunctions& avx512_attention() {
  static constexpr AttentionFunctions kFunctions = attention_functions<Avx512>();
  return kFunctions;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options

#endif
