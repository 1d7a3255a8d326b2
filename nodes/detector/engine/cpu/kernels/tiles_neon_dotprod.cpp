// u8 x s8 tiles of NEON with 32-bit sums (SDOT), four registers to a block. Both sides of a product
// have signs, so pixels are multiplied as x - 128, which is one flipped bit, and sums start at 128
// times their weights.
#include <cstdint>
#include <iterator>
#include <utility>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Dots128 {
  using Sum = Integers;
  using Quad = uint8x16_t;
  static constexpr bool kHasCodes = true;
  static constexpr bool kPrefetch = false;
  static Sum load(const std::byte* start) { return load_integers(start); }
  static Quad less_128(Quad x) { return veorq_u8(x, vdupq_n_u8(128)); }
  static Quad quad(const std::byte* x) {
    return less_128(vld1q_u8(reinterpret_cast<const std::uint8_t*>(x)));
  }
  static Quad single(const std::byte* x) { return less_128(vreinterpretq_u8_f32(load_lane(x))); }
  // g++ 12 spills sums around the intrinsic, and reorders all that is not volatile.
  template <int kLane>
  static Sum multiply_add_lane(Sum sum, Quad x, Integers w) {
    asm volatile("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sum) : "w"(w), "w"(x), "i"(kLane));
    return sum;
  }
  static Floats result(Sum sum, const TileJob& job, std::int64_t channel) {
    return scale_and_shift(to_floats(sum), job, channel);
  }
};

}  // namespace

const TileSet& neon_dotprod_u8_tiles();

const TileSet& neon_dotprod_u8_tiles() {
  static const TileSet kSet = [] {
    TileSet set = make_tiles<Dots128>();
    set.pixel_offset = {128, 128};
    return set;
  }();
  return kSet;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
