// Depthwise tiles with AVX-512, bytes with VNNI.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/depthwise_template.hpp"

namespace fovea::engine::kernels {
namespace {

// Both are 16 bits in a lane of 32: the upper product is the zero above the pixel times anything.
struct Bytes512 : OfBytes {
  // As for dense tiles, the intrinsic makes g++ 12 spill.
  static Vector multiply_add(Vector sum, Vector x, Vector w) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
  }
};

}  // namespace

DepthwiseFunction avx512_depthwise(DataType compute) {
  switch (compute) {
    case DataType::kUint8:
      return depthwise<Bytes512>;
    case DataType::kFloat16:
      return depthwise<OfHalves>;
    default:
      return depthwise<OfFloats>;
  }
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
