// The register tile as a template over the arithmetic. Included by the tile files only, inside
// their target pragma; internal linkage keeps each instruction set's instances apart.
#pragma once

namespace fovea::engine::kernels {
namespace {

inline __m512 scale_and_shift(__m512 value, const TileJob& job, int block) {
  return _mm512_fmadd_ps(value, _mm512_loadu_ps(job.scale + block * 16),
                         _mm512_loadu_ps(job.bias + block * 16));
}

// Nearest integer; what is above 127 saturates later, but must not overflow the conversion.
inline __m512i to_integer(__m512 value) {
  return _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(127)));
}

// s8 codes of one and of four registers with saturation, in order.
inline void store_codes(std::byte* to, __m512i a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(a));
}
inline void store_codes(std::byte* to, __m512i a, __m512i b, __m512i c, __m512i d) {
  // Packing works inside 128-bit lanes: lane i ends up with the i-th four codes of a, b, c and d.
  const __m512i lanes = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, lanes));
}

// Math: Accumulator, kHasCodes, kPrefetch; load(start), multiply_add(accumulator, x, w),
// result(accumulator, job, block).
// The arrays live in registers only if every loop over them is unrolled.
template <class Math, int kBlocks, int kWidth>
__attribute__((noinline)) void tile(const TileJob& job) {
  using Accumulator = typename Math::Accumulator;
  for (std::int64_t pixel = 0; pixel < job.pixels; pixel += kWidth) {
    Accumulator sums[kBlocks][kWidth];
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      const Accumulator start = Math::load(job.start + b * 64);
#pragma GCC unroll 20
      for (int p = 0; p < kWidth; ++p) sums[b][p] = start;
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
          __m512i w[kBlocks];
#pragma GCC unroll 8
          for (int b = 0; b < kBlocks; ++b) w[b] = _mm512_load_si512(weights + b * 64);
#pragma GCC unroll 20
          for (int p = 0; p < kWidth; ++p) {
            std::int32_t channels;
            __builtin_memcpy(&channels, x + p * pixel_stride, sizeof channels);
            const __m512i broadcast = _mm512_set1_epi32(channels);
#pragma GCC unroll 8
            for (int b = 0; b < kBlocks; ++b)
              sums[b][p] = Math::multiply_add(sums[b][p], broadcast, w[b]);
          }
          run += kStepBytes;
          weights += kBlocks * 64;
        }
      }
    }
    std::byte* to = job.to + pixel * job.to_stride;
    if (Math::kHasCodes && job.codes) {  // pixels without gaps: 16 * kBlocks codes each
      const auto code = [&](int i) {
        return to_integer(Math::result(sums[i % kBlocks][i / kBlocks], job, i % kBlocks));
      };
      constexpr int kVectors = kBlocks * kWidth;
#pragma GCC unroll 8
      for (int i = 0; i + 4 <= kVectors; i += 4) {
        store_codes(to + i * 16, code(i), code(i + 1), code(i + 2), code(i + 3));
      }
#pragma GCC unroll 4
      for (int i = kVectors / 4 * 4; i < kVectors; ++i) store_codes(to + i * 16, code(i));
    } else {
#pragma GCC unroll 20
      for (int p = 0; p < kWidth; ++p) {
#pragma GCC unroll 8
        for (int b = 0; b < kBlocks; ++b) {
          _mm512_storeu_ps(to + p * job.to_stride + b * 64, Math::result(sums[b][p], job, b));
        }
      }
    }
  }
}

template <class Math, int kBlocks, std::size_t... kIndex>
void fill(TileSet& set, std::index_sequence<kIndex...> /*widths*/) {
  ((set.functions[kBlocks][kIndex] = tile<Math, kBlocks, kWidths[kBlocks][kIndex]>), ...);
}

template <class Math>
TileSet make_tiles() {
  TileSet set{};
  fill<Math, 1>(set, std::make_index_sequence<kWidths[1].size()>());
  fill<Math, 2>(set, std::make_index_sequence<kWidths[2].size()>());
  fill<Math, 3>(set, std::make_index_sequence<kWidths[3].size()>());
  fill<Math, 4>(set, std::make_index_sequence<kWidths[4].size()>());
  fill<Math, 5>(set, std::make_index_sequence<kWidths[5].size()>());
  fill<Math, 6>(set, std::make_index_sequence<kWidths[6].size()>());
  return set;
}

}  // namespace
}  // namespace fovea::engine::kernels
