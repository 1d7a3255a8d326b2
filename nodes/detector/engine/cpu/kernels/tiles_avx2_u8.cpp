// u8 x s8 tiles of AVX2 with 32-bit sums, two registers to a block, exact for all weights: see
// pair_sums.hpp.
#include <cstdint>
#include <iterator>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/pair_sums.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"

namespace fovea::engine::kernels {
namespace {

struct Pairs256 {
  using Sum = __m256i;
  static constexpr bool kHasCodes = true;
  static constexpr bool kPrefetch = false;
  static constexpr bool kTemporary = true;
  static constexpr bool kRepeats = true;
  static Sum load(const std::byte* start) { return load_integers(start); }
  // One piece, for g++ 12 hoists products out of intrinsics and spills sums.
  static Sum multiply_add(Sum sum, __m256i x, __m256i w) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i products;
    asm("vpmaddubsw %3, %2, %1\n\t"
        "vpmaddwd %4, %1, %1\n\t"
        "vpaddd %1, %0, %0"
        : "+x"(sum), "=&x"(products)
        : "x"(x), "x"(w), "x"(ones));
    return sum;
  }
  static Floats result(Sum sum, const TileJob& job, std::int64_t channel) {
    return scale_and_shift(to_floats(sum), job, channel);
  }
};

struct Magnitudes256 {
  using Sum = __m256i;
  static constexpr bool kHasCodes = true;
  static constexpr bool kPrefetch = false;
  static constexpr bool kTemporary = true;
  static constexpr int kWeightRegisters = 2;
  static Sum load(const std::byte* start) { return load_integers(start); }
  static Sum multiply_add(Sum sum, __m256i x, __m256i w, const std::byte* weights) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i products;
    asm("vpxor %4, %2, %1\n\t"
        "vpmaddubsw %1, %3, %1\n\t"
        "vpmaddwd %5, %1, %1\n\t"
        "vpaddd %1, %0, %0"
        : "+x"(sum), "=&x"(products)
        : "x"(x), "x"(w), "m"(reinterpret_cast<const __m256i*>(weights)[1]), "x"(ones));
    return sum;
  }
  static Floats result(Sum sum, const TileJob& job, std::int64_t channel) {
    return Pairs256::result(sum, job, channel);
  }
};

}  // namespace

const TileSet& avx2_u8_tiles() {
  static const TileSet kOfMagnitudes = [] {
    TileSet set = make_tiles<Magnitudes256>();
    set.pixel_offset = kFlippedOffset;
    return set;
  }();
  static const TileSet kSet = [] {
    TileSet set = make_tiles<Pairs256>();
    set.of_magnitudes = &kOfMagnitudes;
    return set;
  }();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
