// The register tile as a template over the arithmetic. Included by the tile files only, inside
// their target pragma; internal linkage keeps each instruction set's instances apart.
#pragma once

#include "nodes/detector/engine/cpu/kernels/vector_math.hpp"

namespace fovea::engine::kernels {
namespace {

// 16 output channels by 20 pixels is the widest tile: its sums, a block's weights and a broadcast
// fill 32 registers. 16 registers hold a smaller one.
constexpr int kWidthsOf1[] = {20, 16, 10, 8, 4, 2, 1};
constexpr int kWidthsOf2[] = {13, 12, 10, 8, 5, 4, 2, 1};
constexpr int kWidthsOf3[] = {8, 6, 5, 4, 2, 1};
constexpr int kWidthsOf4[] = {6, 5, 4, 3, 2, 1};
constexpr int kWidthsOf5[] = {5, 4, 3, 2, 1};
constexpr int kWidthsOf6[] = {4, 3, 2, 1};
constexpr int kFewWidthsOf1[] = {6, 5, 4, 3, 2, 1};
constexpr int kFewWidthsOf2[] = {3, 2, 1};
// With room for products on their way into the sums.
constexpr int kFewerWidthsOf1[] = {5, 4, 3, 2, 1};
constexpr int kFewerWidthsOf2[] = {2, 1};

// sum * scale + bias of a vector whose first channel is the tile's `channel`.
inline Floats scale_and_shift(Floats value, const TileJob& job, std::int64_t channel) {
  return multiply_add(value, load_floats(job.scale + channel), load_floats(job.bias + channel));
}

// Math: Sum, kHasCodes, kPrefetch; load(start), multiply_add(sum, x, w), result(sum, job, channel).
// Optional: kTemporary, multiply_add() needs a register or two; kRepeats, some steps are repeated.
template <class Math>
constexpr bool has_temporary() {
  if constexpr (requires { Math::kTemporary; }) return Math::kTemporary;
  return false;
}
template <class Math>
constexpr bool has_repeats() {
  if constexpr (requires { Math::kRepeats; }) return Math::kRepeats;
  return false;
}

// The arrays live in registers only if every loop over them is unrolled.
template <class Math, int kBlocks, int kWidth>
__attribute__((noinline)) void tile(const TileJob& job) {
  using Sum = typename Math::Sum;
  constexpr int kVectors = kBlocks * static_cast<int>(kBlock / kLanes);  // of a pixel
  constexpr std::int64_t kVectorBytes = kLanes * 4;
  // Of weights and broadcast pixels, the fewer are held in registers.
  constexpr bool kHoldPixels = kVectorRegisters == 16 && kWidth < kVectors;
  for (std::int64_t pixel = 0; pixel < job.pixels; pixel += kWidth) {
    Sum sums[kVectors][kWidth];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Sum start = Math::load(job.start + v * kVectorBytes);
#pragma GCC unroll 20
      for (int p = 0; p < kWidth; ++p) sums[v][p] = start;
    }
    const std::int64_t pixel_stride = job.pixel_stride;
    const std::byte* weights = job.weights;
    if (job.destination != nullptr) {
      for (int p = 0; p < kWidth; ++p) {
        std::byte* line = job.destination + (pixel + p) * job.destination_stride;
        for (std::int64_t at = 0; at < job.destination_bytes; at += 64)
          __builtin_prefetch(line + at, 1);
      }
    }
    if (Math::kPrefetch && job.kernel_rows == 1 && job.taps == 1) {
      // No pixel is read twice, and f32 pixels come from an outer cache faster than the hardware
      // asks for them.
      const std::byte* next = job.source + (pixel + kWidth) * pixel_stride;
      for (int p = 0; p < kWidth; ++p) {
        for (std::int64_t at = 0; at <= job.last_step; at += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(next + p * pixel_stride + at), _MM_HINT_T0);
        }
      }
    }
    for (int ky = 0; ky < job.kernel_rows; ++ky) {
      for (int tap = 0; tap < job.taps; ++tap) {
        const std::byte* run =
            job.source + pixel * pixel_stride + ky * job.kernel_row_stride + tap * job.tap_stride;
        const std::byte* last = run + job.last_step;
        for (int step = job.steps; step > 0; --step) {
          const std::byte* x = run < last ? run : last;
          const auto broadcast = [&](int p) __attribute__((always_inline)) {
            std::int32_t channels;
            __builtin_memcpy(&channels, x + p * pixel_stride, sizeof channels);
            return set_integer(channels);
          };
          if constexpr (kHoldPixels) {
            Integers pixels[kWidth];
#pragma GCC unroll 20
            for (int p = 0; p < kWidth; ++p) pixels[p] = broadcast(p);
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v) {
              const Integers w = load_integers(weights + v * kVectorBytes);
#pragma GCC unroll 20
              for (int p = 0; p < kWidth; ++p) {
                sums[v][p] = Math::multiply_add(sums[v][p], pixels[p], w);
              }
            }
          } else {
            Integers w[kVectors];
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v) w[v] = load_integers(weights + v * kVectorBytes);
#pragma GCC unroll 20
            for (int p = 0; p < kWidth; ++p) {
              const Integers channels = broadcast(p);
#pragma GCC unroll 8
              for (int v = 0; v < kVectors; ++v) {
                sums[v][p] = Math::multiply_add(sums[v][p], channels, w[v]);
              }
            }
          }
          run += kStepBytes;
          weights += kVectors * kVectorBytes;
        }
      }
    }
    if constexpr (has_repeats<Math>()) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const RepeatedSteps& repeats = job.repeats[v];
        for (std::int64_t step = 0; step < repeats.count; ++step) {
          const Integers w = load_integers(repeats.weights + step * kVectorBytes);
          const std::byte* x = job.source + pixel * pixel_stride + repeats.offsets[step];
#pragma GCC unroll 20
          for (int p = 0; p < kWidth; ++p) {
            std::int32_t channels;
            __builtin_memcpy(&channels, x + p * pixel_stride, sizeof channels);
            sums[v][p] = Math::multiply_add(sums[v][p], set_integer(channels), w);
          }
        }
      }
    }
    std::byte* to = job.to + pixel * job.to_stride;
    if (Math::kHasCodes && job.codes) {  // pixels without gaps: 16 * kBlocks codes each
      const auto code = [&](int i) __attribute__((always_inline)) {
        const int v = i % kVectors;
        return to_code(Math::result(sums[v][i / kVectors], job, v * kLanes));
      };
      constexpr int kAll = kVectors * kWidth;
#pragma GCC unroll 8
      for (int i = 0; i + 4 <= kAll; i += 4) {
        store_codes(to + i * kLanes, code(i), code(i + 1), code(i + 2), code(i + 3));
      }
#pragma GCC unroll 4
      for (int i = kAll / 4 * 4; i < kAll; ++i) store_codes(to + i * kLanes, code(i));
    } else {
#pragma GCC unroll 20
      for (int p = 0; p < kWidth; ++p) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
          store_floats(to + p * job.to_stride + v * kVectorBytes,
                       Math::result(sums[v][p], job, v * kLanes));
        }
      }
    }
  }
}

template <class Math, int kBlocks, const auto& kWidths, std::size_t... kIndex>
void fill(TileSet& set, std::index_sequence<kIndex...> /*widths*/) {
  set.widths[kBlocks] = kWidths;
  ((set.functions[kBlocks][kIndex] = tile<Math, kBlocks, kWidths[kIndex]>), ...);
}
template <class Math, int kBlocks, const auto& kWidths>
void fill(TileSet& set) {
  static_assert(std::size(kWidths) <= kMaxWidths);
  fill<Math, kBlocks, kWidths>(set, std::make_index_sequence<std::size(kWidths)>());
}

template <class Math>
TileSet make_tiles() {
  TileSet set;
  set.registers = static_cast<int>(kBlock / kLanes);
  set.repeats = has_repeats<Math>();
  if constexpr (kVectorRegisters == 32) {
    set.product_blocks = 4;
    fill<Math, 1, kWidthsOf1>(set);
    fill<Math, 2, kWidthsOf2>(set);
    fill<Math, 3, kWidthsOf3>(set);
    fill<Math, 4, kWidthsOf4>(set);
    fill<Math, 5, kWidthsOf5>(set);
    fill<Math, 6, kWidthsOf6>(set);
  } else if constexpr (has_temporary<Math>()) {
    fill<Math, 1, kFewerWidthsOf1>(set);
    fill<Math, 2, kFewerWidthsOf2>(set);
  } else {
    fill<Math, 1, kFewWidthsOf1>(set);
    fill<Math, 2, kFewWidthsOf2>(set);
  }
  return set;
}

}  // namespace
}  // namespace fovea::engine::kernels
