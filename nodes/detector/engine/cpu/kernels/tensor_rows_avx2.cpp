// The inner loops of the tensor operators with AVX2.
#include <algorithm>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows_template.hpp"

namespace fovea::engine::kernels {

const TensorRowFunctions& avx2_tensor_rows() {
  static constexpr TensorRowFunctions kRows{"avx2", map, softmax, multiply, normalize, blend};
  return kRows;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
