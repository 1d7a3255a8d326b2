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

  // 2^x to 2.1e-7 relative, 2^-100 below that. Adding 1.5 * 2^23 rounds to the nearest integer and
  // leaves it in the lowest bits, from where it goes into the exponent. NaN stays NaN.
  static Floats exp2(Floats x) {
    x = larger(set(-100), x);
    const Floats shifted = x + set(12582912);
    const Floats part = x - (shifted - set(12582912));
    Floats y = multiply_add(set(1.327647199e-03F), part, set(9.675541334e-03F));
    y = multiply_add(y, part, set(5.550713273e-02F));
    y = multiply_add(y, part, set(2.402211972e-01F));
    y = multiply_add(y, part, set(6.931469671e-01F));
    y = multiply_add(y, part, set(1.000000072e+00F));
    const Integers exponent = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(y), exponent));
  }
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
