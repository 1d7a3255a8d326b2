// u8 x s8 tiles with 32-bit sums (VNNI).
#include <cstdint>
#include <iterator>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,prfchw")

#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Bytes512 {
  using Sum = __m512i;
  static constexpr bool kHasCodes = true;
  static constexpr bool kPrefetch = false;
  static __m512i load(const std::byte* start) { return _mm512_loadu_si512(start); }
  // g++ 12 spills the sums around _mm512_dpbusd_epi32, which halves the speed.
  static __m512i multiply_add(__m512i sum, __m512i x, __m512i w) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
  }
  static __m512 result(__m512i sum, const TileJob& job, std::int64_t channel) {
    return scale_and_shift(_mm512_cvtepi32_ps(sum), job, channel);
  }
};

}  // namespace

const TileSet& avx512_vnni_u8_tiles() {
  static const TileSet kSet = make_tiles<Bytes512>();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
