// f16 tiles with f16 arithmetic (AVX512-FP16): twice the f32 rate. Each lane pair sums even and odd
// channels.
#include <cstdint>
#include <iterator>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512fp16,avx2,fma,prfchw,f16c")

#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Half {
  using Sum = __m512h;
  static constexpr bool kHasCodes = false;
  static constexpr bool kPrefetch = true;
  static __m512h load(const std::byte* start) {
    return _mm512_castsi512_ph(_mm512_loadu_si512(start));
  }
  static __m512h multiply_add(__m512h sum, __m512i x, __m512i w) {
    return _mm512_fmadd_ph(_mm512_castsi512_ph(x), _mm512_castsi512_ph(w), sum);
  }
  static __m512 result(__m512h sum, const TileJob& job, std::int64_t channel) {
    const __m512i pairs = _mm512_castph_si512(sum);
    const __m512 even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs));
    const __m512 odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
    return scale_and_shift(_mm512_add_ps(even, odd), job, channel);
  }
};

}  // namespace

const TileSet& avx512_fp16_f16_tiles() {
  static const TileSet kSet = [] {
    TileSet set = make_tiles<Half>();
    set.half_sums = true;
    return set;
  }();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
