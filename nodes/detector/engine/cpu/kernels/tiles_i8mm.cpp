// u8 x s8 tiles of NEON with 32-bit sums, by products of 2x8 with 8x2 bytes (USMMLA).
#include <cstdint>
#include <iterator>
#include <utility>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"
#include "nodes/detector/engine/cpu/kernels/byte_tile_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Matrices {
  static constexpr int kWidths[] = {6, 4, 2, 1};
  static constexpr bool kHasCodes = true;

  // A register sums two channels of one pixel, then of the next.
  template <int kWidth>
  __attribute__((always_inline)) static void sum(Integers (&sums)[4][kWidth], const TileJob& job,
                                                 std::int64_t pixel) {
    constexpr int kPairs = (kWidth + 1) / 2;
    Integers products[8][kPairs];
#pragma GCC unroll 8
    for (int o = 0; o < 8; ++o) {
      const int32x2_t two = vld1_s32(reinterpret_cast<const std::int32_t*>(job.start) + o * 2);
#pragma GCC unroll 3
      for (int p = 0; p < kPairs; ++p) products[o][p] = vcombine_s32(two, two);
    }
    const std::int64_t stride = job.pixel_stride;
    for_each_byte_step(
        job,
        pixel, [&](const std::byte* x, const std::byte* weights) __attribute__((always_inline)) {
          Integers pixels[kPairs];
#pragma GCC unroll 3
          for (int p = 0; p < kPairs; ++p) {
            const auto* first = reinterpret_cast<const std::uint8_t*>(x + p * 2 * stride);
            const uint8x8_t low = vld1_u8(first);
            const uint8x8_t high = p * 2 + 1 < kWidth ? vld1_u8(first + stride) : low;
            pixels[p] = vreinterpretq_s32_u8(vcombine_u8(low, high));
          }
#pragma GCC unroll 8
          for (int o = 0; o < 8; ++o) {
            const Integers w = load_integers(weights + o * 16);
        // g++ 12 spills sums around the intrinsic.
#pragma GCC unroll 3
            for (int p = 0; p < kPairs; ++p) {
              asm volatile("usmmla %0.4s, %1.16b, %2.16b"
                           : "+w"(products[o][p])
                           : "w"(pixels[p]), "w"(w));
            }
          }
        });
#pragma GCC unroll 6
    for (int p = 0; p < kWidth; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        const int64x2_t a = vreinterpretq_s64_s32(products[v * 2][p / 2]);
        const int64x2_t b = vreinterpretq_s64_s32(products[v * 2 + 1][p / 2]);
        sums[v][p] = vreinterpretq_s32_s64(p % 2 == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b));
      }
    }
  }
  static Floats result(Integers sum, const TileJob& job, std::int64_t channel) {
    return scale_and_shift(to_floats(sum), job, channel);
  }
};

}  // namespace

const TileSet& i8mm_u8_tiles();

const TileSet& i8mm_u8_tiles() {
  static const TileSet kSet = make_byte_tiles<Matrices>();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
