// Tiles whose instructions sum over the channels that lie together: steps of 8 bytes of a pixel, [16
// output channels][8] weights. Included by tile files of NEON, after tile_template.hpp.
#pragma once

namespace fovea::engine::kernels {
namespace {

constexpr int kByteStep = 8;
constexpr std::int64_t kByteStepWeights = kBlock * kByteStep;

// Calls add(x, weights) for every step, x of the first pixel.
template <class Add>
__attribute__((always_inline)) inline void for_each_byte_step(const TileJob& job,
                                                              std::int64_t pixel, Add add) {
  const std::byte* weights = job.weights;
  for (int ky = 0; ky < job.kernel_rows; ++ky) {
    for (int tap = 0; tap < job.taps; ++tap) {
      const std::byte* run =
          job.source + pixel * job.pixel_stride + ky * job.kernel_row_stride + tap * job.tap_stride;
      const std::byte* last = run + job.last_step;
      for (int step = job.steps; step > 0; --step) {
        add(run < last ? run : last, weights);
        run += kByteStep;
        weights += kByteStepWeights;
      }
    }
  }
}

// Math: kWidths; kHasCodes, result() as in tile_template.hpp; sum<width>(sums, job, pixel), which
// makes the sums of `width` pixels.
template <class Math, int kWidth>
__attribute__((noinline)) void byte_tile(const TileJob& job) {
  for (std::int64_t pixel = 0; pixel < job.pixels; pixel += kWidth) {
    fetch_destination(job, pixel, kWidth);
    Integers sums[4][kWidth];
    Math::template sum<kWidth>(sums, job, pixel);
    store_results<Math>(sums, job, pixel);
  }
}

template <class Math, std::size_t... kIndex>
TileSet make_byte_tiles(std::index_sequence<kIndex...> /*widths*/) {
  TileSet set;
  set.registers = 4;
  set.step_bytes = kByteStep;
  set.widths[1] = Math::kWidths;
  ((set.functions[1][kIndex] = byte_tile<Math, Math::kWidths[kIndex]>), ...);
  return set;
}
template <class Math>
TileSet make_byte_tiles() {
  return make_byte_tiles<Math>(std::make_index_sequence<std::size(Math::kWidths)>());
}

}  // namespace
}  // namespace fovea::engine::kernels
