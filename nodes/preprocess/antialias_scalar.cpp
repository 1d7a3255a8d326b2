// The readable kernels; the reference of the vectorised ones.
#include <algorithm>

#include "nodes/preprocess/antialias_kernels.hpp"

namespace fovea::antialias_kernels {
namespace {

std::uint8_t rounded(std::int32_t sum) {
  constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);
  return static_cast<std::uint8_t>(std::clamp((sum + kHalf) >> kWeightBits, 0, 255));
}

void gather_rows(const std::uint8_t* const* rows, std::size_t count, std::uint8_t* block) {
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t r = 0; r < kRows; ++r) block[i * kRows + r] = rows[r][i];
  }
}

void scatter_rows(const std::uint8_t* block, std::size_t count, std::uint8_t* const* rows) {
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t r = 0; r < kRows; ++r) rows[r][i] = block[i * kRows + r];
  }
}

void filter_block(const std::uint8_t* block, const Window* windows, const std::int32_t* weights,
                  std::size_t stride, std::size_t channels, std::size_t count, std::uint8_t* out) {
  for (std::size_t x = 0; x < count; ++x) {
    for (std::size_t c = 0; c < channels; ++c) {
      std::int32_t sums[kRows] = {};
      for (std::size_t k = 0; k < windows[x].count; ++k) {
        const std::uint8_t* sample = block + ((windows[x].first + k) * channels + c) * kRows;
        for (std::size_t r = 0; r < kRows; ++r) sums[r] += sample[r] * weights[x * stride + k];
      }
      for (std::size_t r = 0; r < kRows; ++r)
        out[(x * channels + c) * kRows + r] = rounded(sums[r]);
    }
  }
}

void add_rows(const std::uint8_t* const* rows, const std::int32_t* weights, std::size_t taps,
              std::size_t count, std::uint8_t* out) {
  for (std::size_t i = 0; i < count; ++i) {
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < taps; ++k) sum += rows[k][i] * weights[k];
    out[i] = rounded(sum);
  }
}

}  // namespace

const Kernels& scalar_kernels() {
  static constexpr Kernels kKernels{gather_rows, scatter_rows, filter_block, add_rows};
  return kKernels;
}

}  // namespace fovea::antialias_kernels
