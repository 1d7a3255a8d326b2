// The inner loops of attention with AVX-512, 16 floats at a time.
#include <algorithm>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/attention_rows_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Avx512 {
  static constexpr const char* kName = "avx512";
  // 24 sums of 32 registers for scores, 16 for values.
  static constexpr int kScoreRows = 8;
  static constexpr int kScoreVectors = 3;
  static constexpr int kMixRows = 8;
  static constexpr int kMixVectors = 2;
  static constexpr int kBlockRows = 8;

  static __m512d pairs(Floats a) { return _mm512_castps_pd(a); }
  // Pairs, fours, then quarters of registers change places.
  static void transpose(Floats (&rows)[kLanes]) {
    Floats t[kLanes];
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
      const Floats a = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0x88);
      const Floats b = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0x88);
      const Floats c = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0xdd);
      const Floats d = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0xdd);
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
