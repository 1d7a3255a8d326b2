// Depthwise tiles with AVX2.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/depthwise_template.hpp"

namespace fovea::engine::kernels {
namespace {

// Both are 16 bits in a lane of 32: the upper product is the zero above the pixel times anything.
struct Bytes256 : OfBytes {
  static Vector multiply_add(Vector sum, Vector x, Vector w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
  }
};

}  // namespace

DepthwiseFunction avx2_depthwise(DataType compute) {
  switch (compute) {
    case DataType::kUint8:
      return depthwise<Bytes256>;
    case DataType::kFloat16:
      return depthwise<OfHalves>;
    default:
      return depthwise<OfFloats>;
  }
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
