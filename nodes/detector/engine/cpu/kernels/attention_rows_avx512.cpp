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
};

}  // namespace

const AttentionFunctions& avx512_attention();

const AttentionFunctions& avx512_attention() {
  static constexpr AttentionFunctions kFunctions = attention_functions<Avx512>();
  return kFunctions;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
