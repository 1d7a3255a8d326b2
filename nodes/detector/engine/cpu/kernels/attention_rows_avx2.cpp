// The inner loops of attention with AVX2 and FMA, 8 floats at a time.
#include <algorithm>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/attention_rows_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Avx2 {
  static constexpr const char* kName = "avx2";
  // 12 sums of 16 registers.
  static constexpr int kScoreRows = 6;
  static constexpr int kScoreVectors = 2;
  static constexpr int kMixRows = 6;
  static constexpr int kMixVectors = 2;
  static constexpr int kBlockRows = 24;

  // Pairs, fours, then halves of registers change places.
  static void transpose(Floats (&rows)[kLanes]) {
    Floats t[kLanes];
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
