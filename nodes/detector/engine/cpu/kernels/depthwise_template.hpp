// Depthwise tiles over vectors of any width. One multiply-add per tap and vector; what costs is
// loading and widening the pixels, so that kernels 3 or 7 wide with stride 1 load each pixel once
// per row instead of so many times. Included by the depthwise_*.cpp files inside their target
// pragma, after the vectors.
#pragma once

namespace fovea::engine::kernels {
namespace {

struct OfFloats {
  using Vector = Floats;
  static constexpr std::int64_t kPixelBytes = 4;
  static Vector load(const std::byte* from) { return load_floats(from); }
  static Vector pixel(const std::byte* from, Lanes lanes) { return load_floats(from, lanes); }
  static Vector multiply_add(Vector sum, Vector x, Vector w) {
    return kernels::multiply_add(x, w, sum);
  }
  static void store(Vector sum, const DepthwiseJob& /*job*/, std::byte* to) {
    store_floats(to, sum);
  }
};

struct OfHalves : OfFloats {
  static constexpr std::int64_t kPixelBytes = 2;
  static Vector pixel(const std::byte* from, Lanes lanes) { return load_halves(from, lanes); }
};

// Sums of 32 bits; how a product is added is the instruction set's.
struct OfBytes {
  using Vector = Integers;
  static constexpr std::int64_t kPixelBytes = 1;
  static Vector load(const std::byte* from) { return load_integers(from); }
  static Vector pixel(const std::byte* from, Lanes lanes) { return load_widened(from, lanes); }
  static void store(Vector sum, const DepthwiseJob& job, std::byte* to) {
    const Floats result =
        kernels::multiply_add(to_floats(sum), load_floats(job.scale), load_floats(job.bias));
    if (job.codes) {
      // What is above 127 saturates, but must not overflow the conversion.
      store_codes(to, to_integers(smaller(result, set(127))));
    } else {
      store_floats(to, result);
    }
  }
};

// kReuse: this many taps with stride 1 and no dilation; 0: any.
template <class Math, int kWidth, int kReuse>
void pixels(const DepthwiseJob& job, std::int64_t first) {
  using Vector = typename Math::Vector;
  const Lanes lanes = first_lanes(job.lanes);
  Vector sums[kWidth];
#pragma GCC unroll 8
  for (int p = 0; p < kWidth; ++p) sums[p] = Math::load(job.start);
  const std::byte* weights = job.weights;
  for (int ky = 0; ky < job.kernel_rows; ++ky) {
    const std::byte* row = job.source + first * job.pixel_stride + ky * job.kernel_row_stride;
    if constexpr (kReuse > 0) {
      Vector w[kReuse];
#pragma GCC unroll 8
      for (int tap = 0; tap < kReuse; ++tap) w[tap] = Math::load(weights + tap * 64);
#pragma GCC unroll 16
      for (int column = 0; column < kWidth + kReuse - 1; ++column) {
        const Vector x = Math::pixel(row + column * job.pixel_stride, lanes);
#pragma GCC unroll 8
        for (int tap = 0; tap < kReuse; ++tap) {
          const int p = column - tap;
          if (p >= 0 && p < kWidth) sums[p] = Math::multiply_add(sums[p], x, w[tap]);
        }
      }
      weights += kReuse * 64;
    } else {
      for (int tap = 0; tap < job.taps; ++tap, weights += 64) {
        const Vector w = Math::load(weights);
#pragma GCC unroll 8
        for (int p = 0; p < kWidth; ++p) {
          const std::byte* at = row + p * job.pixel_stride + tap * job.tap_stride;
          sums[p] = Math::multiply_add(sums[p], Math::pixel(at, lanes), w);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kWidth; ++p) {
    Math::store(sums[p], job, job.to + (first + p) * job.to_stride);
  }
}

template <class Math, int kReuse>
void all_pixels(const DepthwiseJob& job) {
  std::int64_t pixel = 0;
  for (; pixel + 8 <= job.pixels; pixel += 8) pixels<Math, 8, kReuse>(job, pixel);
  for (; pixel + 4 <= job.pixels; pixel += 4) pixels<Math, 4, kReuse>(job, pixel);
  for (; pixel < job.pixels; ++pixel) pixels<Math, 1, kReuse>(job, pixel);
}

template <class Math>
void depthwise(DepthwiseJob job) {
  for (; job.lanes > 0; job.lanes -= static_cast<int>(kLanes)) {
    if (job.taps == 3 && job.pixel_stride == job.tap_stride) {
      all_pixels<Math, 3>(job);
    } else if (job.taps == 7 && job.pixel_stride == job.tap_stride) {
      all_pixels<Math, 7>(job);
    } else {
      all_pixels<Math, 0>(job);
    }
    job.source += kLanes * Math::kPixelBytes;
    job.weights += kLanes * 4;
    job.start += kLanes * 4;
    job.scale += kLanes;
    job.bias += kLanes;
    job.to += kLanes * (job.codes ? 1 : 4);
  }
}

}  // namespace
}  // namespace fovea::engine::kernels
