// The inner loops of the tensor operators with NEON.
#include <algorithm>
#include <cstdint>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows_template.hpp"
// clang-format on

namespace fovea::engine::kernels {

const TensorRowFunctions& neon_tensor_rows();

const TensorRowFunctions& neon_tensor_rows() {
  static constexpr TensorRowFunctions kRows{"neon", map, softmax, multiply, normalize, blend};
  return kRows;
}

}  // namespace fovea::engine::kernels
