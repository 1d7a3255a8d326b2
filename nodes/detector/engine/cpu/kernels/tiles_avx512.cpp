// f32 tiles, and f16 storage with f32 arithmetic for CPUs without half precision arithmetic.
#include <cstdint>
#include <iterator>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,prfchw,f16c")

#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Float {
  using Sum = __m512;
  static constexpr bool kHasCodes = false;
  static constexpr bool kPrefetch = true;
  static __m512 load(const std::byte* start) { return _mm512_loadu_ps(start); }
  static __m512 multiply_add(__m512 sum, __m512i x, __m512i w) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(w), sum);
  }
  static __m512 result(__m512 sum, const TileJob& /*job*/, std::int64_t /*channel*/) { return sum; }
};

struct HalfAsFloat {
  using Sum = __m512;
  static constexpr bool kHasCodes = false;
  static constexpr bool kPrefetch = true;
  static __m512 load(const std::byte* start) { return _mm512_loadu_ps(start); }
  static __m512 even(__m512i pairs) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs)); }
  static __m512 odd(__m512i pairs) { return even(_mm512_srli_epi32(pairs, 16)); }
  static __m512 multiply_add(__m512 sum, __m512i x, __m512i w) {
    return _mm512_fmadd_ps(odd(x), odd(w), _mm512_fmadd_ps(even(x), even(w), sum));
  }
  static __m512 result(__m512 sum, const TileJob& /*job*/, std::int64_t /*channel*/) { return sum; }
};

}  // namespace

const TileSet& avx512_f32_tiles() {
  static const TileSet kSet = make_tiles<Float>();
  return kSet;
}

const TileSet& avx512_f16_tiles() {
  static const TileSet kSet = make_tiles<HalfAsFloat>();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
