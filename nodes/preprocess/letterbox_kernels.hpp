// The inner loops of Letterbox, once readable and once vectorised; both give the same bits.
//
// Fixed point: weights have 11 bits and sum to 2048. The vertical pass leaves samples with 7
// fractional bits (255 becomes 32640, which fits a signed 16-bit lane), the horizontal pass rounds
// once at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fovea::letterbox_kernels {

inline constexpr int kWeightBits = 11;
inline constexpr int kWeightOne = 1 << kWeightBits;
inline constexpr int kBlendShift = 4;  // 8 + 11 - 4 = 15 bits
inline constexpr int kResampleShift = 2 * kWeightBits - kBlendShift;
// The horizontal pass may load this many blended samples from any tap, used or not.
inline constexpr std::size_t kSlack = 8;

// Source of one output pixel: samples [offset, offset + channels) of the left and the next pixel.
struct ColumnTap {
  std::uint32_t offset = 0;  // in samples: pixel * channels
  std::int16_t weight_left = 0;
  std::int16_t weight_right = 0;
};

// Channel order of the source in memory; the output is always RGB.
enum class Order { kRgb, kBgr, kMono };

struct Kernels {
  // blended[i] = (upper[i] * weight_upper >> 4) + (lower[i] * weight_lower >> 4) for i < count.
  void (*blend_rows)(const std::uint8_t* upper, const std::uint8_t* lower, int weight_upper,
                     int weight_lower, std::size_t count, std::int16_t* blended);
  // rgb[3 x + c] = (left * weight_left + right * weight_right) rounded to 8 bits, for x < count.
  void (*resample_row)(const std::int16_t* blended, const ColumnTap* taps, std::size_t count,
                       Order order, std::uint8_t* rgb);
  // The same for a source that is not scaled: only the order of channels changes.
  void (*convert_row)(const std::uint8_t* source, std::size_t count, Order order,
                      std::uint8_t* rgb);
};

const Kernels& scalar_kernels();
// The best for this CPU, or what FOVEA_ISA (scalar, sse4, avx2) limits it to.
const Kernels& best_kernels();

struct NamedKernels {
  const char* name;  // "scalar", then Highway's names
  const Kernels* kernels;
};
// Everything this CPU can run, for tests and benches.
std::vector<NamedKernels> all_kernels();

}  // namespace fovea::letterbox_kernels
