// The inner loops of attention with NEON, 4 floats at a time.
#include <algorithm>
#include <cstdint>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/attention_rows_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Neon {
  static constexpr const char* kName = "neon";
  // 24 sums of 32 registers.
  static constexpr int kScoreRows = 6;
  static constexpr int kScoreVectors = 4;
  static constexpr int kMixRows = 6;
  static constexpr int kMixVectors = 4;
  static constexpr int kBlockRows = 24;
};

}  // namespace

const AttentionFunctions& neon_attention();

const AttentionFunctions& neon_attention() {
  static constexpr AttentionFunctions kFunctions = attention_functions<Neon>();
  return kFunctions;
}

}  // namespace fovea::engine::kernels
