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

  // Pairs, then halves of registers change places.
  static void transpose(Floats (&rows)[kLanes]) {
    const float32x4x2_t a = vtrnq_f32(rows[0], rows[1]);
    const float32x4x2_t b = vtrnq_f32(rows[2], rows[3]);
    for (int i = 0; i < 2; ++i) {
      rows[i] = vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i]));
      rows[2 + i] = vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i]));
    }
  }
};

}  // namespace

const AttentionFunctions& neon_attention();

const AttentionFunctions& neon_attention() {
  static constexpr AttentionFunctions kFunctions = attention_functions<Neon>();
  return kFunctions;
}

}  // namespace fovea::engine::kernels
