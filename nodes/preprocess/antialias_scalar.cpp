// The readable kernels; the reference of the vectorised ones.
#include <algorithm>

#include "nodes/preprocess/antialias_kernels.hpp"

namespace fovea::antialias_kernels {
namespace {

constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);

std::uint8_t rounded(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp((sum + kHalf) >> kWeightBits, 0, 255));
}

template <std::size_t kChannels>
void filter(const std::uint8_t* row, const Window* windows, const std::int32_t* weights,
            std::size_t stride, std::size_t count, std::uint8_t* out) {
  for (std::size_t x = 0; x < count; ++x) {
    const std::uint8_t* pixel = row + windows[x].first * kChannels;
    std::int32_t sums[kChannels] = {};
    for (std::size_t k = 0; k < windows[x].count; ++k) {
      for (std::size_t c = 0; c < kChannels; ++c) {
        sums[c] += pixel[k * kChannels + c] * weights[x * stride + k];
      }
    }
    for (std::size_t c = 0; c < kChannels; ++c) out[x * kChannels + c] = rounded(sums[c]);
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
  static constexpr Kernels kKernels{filter<3>, filter<1>, add_rows};
  return kKernels;
}

}  // namespace fovea::antialias_kernels
