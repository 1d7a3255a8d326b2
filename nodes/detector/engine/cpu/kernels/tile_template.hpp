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

// With four registers to a block: five pixels, their next four steps and weights on their way.
constexpr int kQuadWidthsOf1[] = {6, 5, 4, 3, 2, 1};
constexpr int kQuadWidthsOf2[] = {3, 2, 1};

// Math: Sum, kHasCodes, kPrefetch; load(start), multiply_add(sum, x, w), result(sum, job, channel).
// Optional: kTemporary, multiply_add() needs a register or two; kRepeats, some steps are repeated;
// kWeightRegisters, a register's weights fill so many, and multiply_add() takes where the first is.
// Or, instead of multiply_add(), where instructions take one lane of a register to multiply with:
// Quad, quad(x) with four steps of a pixel, single(x) with one, multiply_add_lane<lane>(sum, x, w).
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
template <class Math>
constexpr int weight_registers() {
  if constexpr (requires { Math::kWeightRegisters; }) return Math::kWeightRegisters;
  return 1;
}
template <class Math>
constexpr bool has_lanes() {
  return requires { typename Math::Quad; };
}

inline void fetch_destination(const TileJob& job, std::int64_t pixel, int width) {
  if (job.destination == nullptr) return;
  for (int p = 0; p < width; ++p) {
    std::byte* line = job.destination + (pixel + p) * job.destination_stride;
    for (std::int64_t at = 0; at < job.destination_bytes; at += 64)
      __builtin_prefetch(line + at, 1);
  }
}

// The arrays live in registers only if every loop over them is unrolled.

// The sums of some pixels from `pixel` on, as results.
template <class Math, class Sum, int kVectors, int kWidth>
__attribute__((always_inline)) inline void store_results(const Sum (&sums)[kVectors][kWidth],
                                                         const TileJob& job, std::int64_t pixel) {
  constexpr std::int64_t kVectorBytes = kLanes * 4;
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

// One step: lane kLane of every pixel's four.
template <class Math, int kLane, class Sum, class Quad, int kVectors, int kWidth>
__attribute__((always_inline)) inline void add_step(Sum (&sums)[kVectors][kWidth],
                                                    const Quad (&pixels)[kWidth],
                                                    const std::byte* weights) {
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    const Integers w = load_integers(weights + v * kLanes * 4);
#pragma GCC unroll 20
    for (int p = 0; p < kWidth; ++p) {
      sums[v][p] = Math::template multiply_add_lane<kLane>(sums[v][p], pixels[p], w);
    }
  }
}

// A run of steps by fours, the rest one by one, from weights that follow each other.
template <class Math, class Sum, int kVectors, int kWidth>
__attribute__((always_inline)) inline const std::byte* add_run(Sum (&sums)[kVectors][kWidth],
                                                               const std::byte* run,
                                                               const TileJob& job,
                                                               const std::byte* weights) {
  constexpr std::int64_t kWeightBytes = kVectors * kLanes * 4;  // of a step
  const std::int64_t pixel_stride = job.pixel_stride;
  const std::byte* last = run + job.last_step;
  int step = job.steps;
  for (; step >= 4 && last - run >= 3 * kStepBytes; step -= 4) {
    typename Math::Quad pixels[kWidth];
#pragma GCC unroll 20
    for (int p = 0; p < kWidth; ++p) pixels[p] = Math::quad(run + p * pixel_stride);
    add_step<Math, 0>(sums, pixels, weights);
    add_step<Math, 1>(sums, pixels, weights + kWeightBytes);
    add_step<Math, 2>(sums, pixels, weights + 2 * kWeightBytes);
    add_step<Math, 3>(sums, pixels, weights + 3 * kWeightBytes);
    run += 4 * kStepBytes;
    weights += 4 * kWeightBytes;
  }
  for (; step > 0; --step) {
    const std::byte* x = run < last ? run : last;
    typename Math::Quad pixels[kWidth];
#pragma GCC unroll 20
    for (int p = 0; p < kWidth; ++p) pixels[p] = Math::single(x + p * pixel_stride);
    add_step<Math, 0>(sums, pixels, weights);
    run += kStepBytes;
    weights += kWeightBytes;
  }
  return weights;
}

template <class Math, int kBlocks, int kWidth>
__attribute__((noinline)) void tile(const TileJob& job) {
  using Sum = typename Math::Sum;
  constexpr int kVectors = kBlocks * static_cast<int>(kBlock / kLanes);  // of a pixel
  constexpr std::int64_t kVectorBytes = kLanes * 4;
  constexpr std::int64_t kWeightBytes = weight_registers<Math>() * kVectorBytes;  // of a vector
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
    fetch_destination(job, pixel, kWidth);
    if (Math::kPrefetch && job.kernel_rows == 1 && job.taps == 1) {
      // No pixel is read twice, and f32 pixels come from an outer cache faster than the hardware
      // asks for them.
      const std::byte* next = job.source + (pixel + kWidth) * pixel_stride;
      for (int p = 0; p < kWidth; ++p) {
        for (std::int64_t at = 0; at <= job.last_step; at += 64) {
          __builtin_prefetch(next + p * pixel_stride + at);
        }
      }
    }
    for (int ky = 0; ky < job.kernel_rows; ++ky) {
      for (int tap = 0; tap < job.taps; ++tap) {
        const std::byte* run =
            job.source + pixel * pixel_stride + ky * job.kernel_row_stride + tap * job.tap_stride;
        if constexpr (has_lanes<Math>()) {
          weights = add_run<Math>(sums, run, job, weights);
        } else {
          const std::byte* last = run + job.last_step;
          for (int step = job.steps; step > 0; --step) {
            const std::byte* x = run < last ? run : last;
            const auto broadcast = [&](int p) __attribute__((always_inline)) {
              std::int32_t channels;
              __builtin_memcpy(&channels, x + p * pixel_stride, sizeof channels);
              return set_integer(channels);
            };
            const auto add = [&](Sum sum, Integers channels, Integers w, int v)
                __attribute__((always_inline)) {
              if constexpr (weight_registers<Math>() == 1) {
                return Math::multiply_add(sum, channels, w);
              } else {
                return Math::multiply_add(sum, channels, w, weights + v * kWeightBytes);
              }
            };
            if constexpr (kHoldPixels) {
              Integers pixels[kWidth];
#pragma GCC unroll 20
              for (int p = 0; p < kWidth; ++p) pixels[p] = broadcast(p);
#pragma GCC unroll 8
              for (int v = 0; v < kVectors; ++v) {
                const Integers w = load_integers(weights + v * kWeightBytes);
#pragma GCC unroll 20
                for (int p = 0; p < kWidth; ++p) sums[v][p] = add(sums[v][p], pixels[p], w, v);
              }
            } else {
              Integers w[kVectors];
#pragma GCC unroll 8
              for (int v = 0; v < kVectors; ++v) w[v] = load_integers(weights + v * kWeightBytes);
#pragma GCC unroll 20
              for (int p = 0; p < kWidth; ++p) {
                const Integers channels = broadcast(p);
#pragma GCC unroll 8
                for (int v = 0; v < kVectors; ++v) sums[v][p] = add(sums[v][p], channels, w[v], v);
              }
            }
            run += kStepBytes;
            weights += kVectors * kWeightBytes;
          }
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
    store_results<Math>(sums, job, pixel);
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
  if constexpr (kVectorRegisters == 32 && kLanes == 16) {
    set.product_blocks = 4;
    fill<Math, 1, kWidthsOf1>(set);
    fill<Math, 2, kWidthsOf2>(set);
    fill<Math, 3, kWidthsOf3>(set);
    fill<Math, 4, kWidthsOf4>(set);
    fill<Math, 5, kWidthsOf5>(set);
    fill<Math, 6, kWidthsOf6>(set);
  } else if constexpr (has_lanes<Math>()) {
    fill<Math, 1, kQuadWidthsOf1>(set);
    fill<Math, 2, kQuadWidthsOf2>(set);
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
