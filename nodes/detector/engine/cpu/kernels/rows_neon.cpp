// The row functions with NEON.
#include <cstdint>
#include <utility>

#include <arm_neon.h>

#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/neon_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/rows_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

// The table in 16 registers. A lookup in four of them leaves what it does not reach, so the four
// lookups follow each other, 64 less each time.
class RegisterTable {
 public:
  explicit RegisterTable(const std::uint8_t* table) {
    for (int i = 0; i < 4; ++i) quarters_[i] = vld1q_u8_x4(table + i * 64);
  }
  Bytes operator()(Bytes index) const {
    return by_quarter([&](int i) { return look_up(index.quarters[i]); });
  }

 private:
  uint8x16_t look_up(uint8x16_t index) const {
    const uint8x16_t step = vdupq_n_u8(64);
    uint8x16_t found = vqtbl4q_u8(quarters_[0], index);
#pragma GCC unroll 3
    for (int i = 1; i < 4; ++i) {
      index = vsubq_u8(index, step);
      found = vqtbx4q_u8(found, quarters_[i], index);
    }
    return found;
  }

  uint8x16x4_t quarters_[4];
};

// Pixels of 16 (32) channels: one lookup serves four (two).
template <int kChannels>
struct Narrow {
  static constexpr std::int64_t kPixels = kByteLanes / kChannels;

  static Bytes load(const std::uint8_t* from, std::int64_t stride, std::int64_t count) {
    return by_quarter([&](int i) {
      const std::int64_t pixel = i * 16 / kChannels;
      return pixel < count ? vld1q_u8(from + pixel * stride + i * 16 % kChannels) : vdupq_n_u8(0);
    });
  }
  static void store(std::uint8_t* to, std::int64_t stride, std::int64_t count, Bytes value) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const std::int64_t pixel = i * 16 / kChannels;
      if (pixel < count) vst1q_u8(to + pixel * stride + i * 16 % kChannels, value.quarters[i]);
    }
  }
};

}  // namespace
}  // namespace fovea::engine::kernels

#include "nodes/detector/engine/cpu/kernels/table_template.hpp"

namespace fovea::engine::kernels {

const RowFunctions& neon_rows();

const RowFunctions& neon_rows() {
  static const RowFunctions kFunctions{"neon", pointwise, table, maximum, sum};
  return kFunctions;
}

}  // namespace fovea::engine::kernels
