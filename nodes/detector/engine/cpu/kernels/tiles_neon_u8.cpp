// u8 x s8 tiles of NEON without dot products, exact for all weights: 8 products of 16 bits, added in
// pairs to four sums of 32 bits each. Pixels are multiplied as x - 128, as by SDOT.
#include <cstdint>
#include <iterator>
#include <utility>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"
#include "nodes/detector/engine/cpu/kernels/byte_tile_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Products {
  static constexpr int kWidths[] = {3, 2, 1};
  static constexpr bool kHasCodes = true;

  // 8 channels at a time, a register for each.
  template <int kWidth>
  __attribute__((always_inline)) static void sum(Integers (&sums)[4][kWidth], const TileJob& job,
                                                 std::int64_t pixel) {
    sum_half<0>(sums, job, pixel);
    sum_half<1>(sums, job, pixel);
  }
  static Floats result(Integers sum, const TileJob& job, std::int64_t channel) {
    return scale_and_shift(to_floats(sum), job, channel);
  }

 private:
  template <int kHalf, int kWidth>
  __attribute__((always_inline)) static void sum_half(Integers (&sums)[4][kWidth],
                                                      const TileJob& job, std::int64_t pixel) {
    Integers quarters[8][kWidth];
#pragma GCC unroll 8
    for (int o = 0; o < 8; ++o) {
#pragma GCC unroll 3
      for (int p = 0; p < kWidth; ++p) quarters[o][p] = vdupq_n_s32(0);
    }
    const uint8x16_t flip = vdupq_n_u8(128);
    const std::int64_t stride = job.pixel_stride;
    for_each_byte_step(
        job,
        pixel, [&](const std::byte* x, const std::byte* weights) __attribute__((always_inline)) {
          uint8x16_t pixels[kWidth];  // twice
#pragma GCC unroll 3
          for (int p = 0; p < kWidth; ++p) {
            const uint8x8_t eight = vld1_u8(reinterpret_cast<const std::uint8_t*>(x + p * stride));
            pixels[p] = veorq_u8(vcombine_u8(eight, eight), flip);
          }
#pragma GCC unroll 4
          for (int o = 0; o < 8; o += 2) {
            const Integers w = load_integers(weights + kHalf * 64 + o * 8);
        // g++ 12 spills sums around the intrinsics.
#pragma GCC unroll 3
            for (int p = 0; p < kWidth; ++p) {
              Integers even;
              Integers odd;
              asm volatile("smull %0.8h, %1.8b, %2.8b" : "=w"(even) : "w"(w), "w"(pixels[p]));
              asm volatile("smull2 %0.8h, %1.16b, %2.16b" : "=w"(odd) : "w"(w), "w"(pixels[p]));
              asm volatile("sadalp %0.4s, %1.8h" : "+w"(quarters[o][p]) : "w"(even));
              asm volatile("sadalp %0.4s, %1.8h" : "+w"(quarters[o + 1][p]) : "w"(odd));
            }
          }
        });
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      const Integers start = load_integers(job.start + (kHalf * 2 + v) * 16);
#pragma GCC unroll 3
      for (int p = 0; p < kWidth; ++p) {
        const auto of = [&](int o) __attribute__((always_inline)) {
          return quarters[v * 4 + o][p];
        };
        const Integers four = vpaddq_s32(vpaddq_s32(of(0), of(1)), vpaddq_s32(of(2), of(3)));
        sums[kHalf * 2 + v][p] = vaddq_s32(four, start);
      }
    }
  }
};

}  // namespace

const TileSet& neon_u8_tiles();

const TileSet& neon_u8_tiles() {
  static const TileSet kSet = [] {
    TileSet set = make_byte_tiles<Products>();
    set.pixel_offset = {128, 128};
    return set;
  }();
  return kSet;
}

}  // namespace fovea::engine::kernels
