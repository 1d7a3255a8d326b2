// Depthwise tiles with NEON.
#include <cstddef>
#include <cstdint>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/depthwise_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Bytes128 : OfBytes {
  static Vector multiply_add(Vector sum, Vector x, Vector w) { return vmlaq_s32(sum, x, w); }
};

}  // namespace

DepthwiseFunction neon_depthwise(DataType compute);

DepthwiseFunction neon_depthwise(DataType compute) {
  switch (compute) {
    case DataType::kUint8:
      return depthwise<Bytes128>;
    case DataType::kFloat16:
      return depthwise<OfHalves>;
    default:
      return depthwise<OfFloats>;
  }
}

}  // namespace fovea::engine::kernels
