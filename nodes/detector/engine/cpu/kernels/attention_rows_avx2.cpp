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
};

}  // namespace

const AttentionFunctions& avx2_attention();

const AttentionFunctions& avx2_attention() {
  static constexpr AttentionFunctions kFunctions = attention_functions<Avx2>();
  return kFunctions;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
