// f32 tiles of AVX2, two registers to a block.
#include <cstdint>
#include <iterator>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Float256 {
  using Sum = __m256;
  static constexpr bool kHasCodes = false;
  static constexpr bool kPrefetch = true;
  static Sum load(const std::byte* start) { return load_floats(start); }
  // g++ 12 spills sums around the intrinsic when registers are just enough.
  static Sum multiply_add(Sum sum, __m256i x, __m256i w) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
    return sum;
  }
  static Floats result(Sum sum, const TileJob& /*job*/, std::int64_t /*channel*/) { return sum; }
};

}  // namespace

const TileSet& avx2_f32_tiles() {
  static const TileSet kSet = make_tiles<Float256>();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
