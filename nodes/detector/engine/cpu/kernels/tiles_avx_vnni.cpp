// u8 x s8 tiles of AVX-VNNI with 32-bit sums, two registers to a block.
#include <cstdint>
#include <iterator>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Bytes256 {
  using Sum = __m256i;
  static constexpr bool kHasCodes = true;
  static constexpr bool kPrefetch = false;
  static Sum load(const std::byte* start) { return load_integers(start); }
  // The form that CPUs without AVX-512 have; with the intrinsic g++ 12 copies and spills sums.
  static Sum multiply_add(Sum sum, __m256i x, __m256i w) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
    return sum;
  }
  static Floats result(Sum sum, const TileJob& job, std::int64_t channel) {
    return scale_and_shift(to_floats(sum), job, channel);
  }
};

}  // namespace

const TileSet& avx_vnni_u8_tiles() {
  static const TileSet kSet = make_tiles<Bytes256>();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
