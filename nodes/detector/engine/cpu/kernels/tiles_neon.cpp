// f32 tiles of NEON, four registers to a block.
#include <cstdint>
#include <iterator>
#include <utility>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

struct Float128 {
  using Sum = Floats;
  using Quad = Floats;
  static constexpr bool kHasCodes = false;
  static constexpr bool kPrefetch = false;
  static Sum load(const std::byte* start) { return load_floats(start); }
  static Quad quad(const std::byte* x) { return load_floats(x); }
  static Quad single(const std::byte* x) { return load_lane(x); }
  // g++ 12 spills sums around the intrinsic, and reorders all that is not volatile.
  template <int kLane>
  static Sum multiply_add_lane(Sum sum, Quad x, Integers w) {
    asm volatile("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(sum) : "w"(w), "w"(x), "i"(kLane));
    return sum;
  }
  static Floats result(Sum sum, const TileJob& /*job*/, std::int64_t /*channel*/) { return sum; }
};

}  // namespace

const TileSet& neon_f32_tiles();

const TileSet& neon_f32_tiles() {
  static const TileSet kSet = make_tiles<Float128>();
  return kSet;
}

}  // namespace fovea::engine::kernels
