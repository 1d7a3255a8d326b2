// What AntialiasedResize relies on, for any sizes.
#include "nodes/preprocess/antialias.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(AntialiasAxis, WindowsLieInOrderInTheSourceAndWeighOne) {
  std::mt19937 random(4);
  std::uniform_int_distribution<std::uint32_t> exponent(0, 12);
  const auto up_to = [&](std::uint32_t most) {
    return std::uniform_int_distribution<std::uint32_t>(1, most)(random);
  };
  for (int trial = 0; trial < 3000; ++trial) {
    const std::uint32_t source = up_to(1U << exponent(random));
    const std::uint32_t scaled = up_to(1U << exponent(random));
    const std::uint32_t size = up_to(scaled);
    const std::uint32_t crop = (scaled - size) / 2;
    const AntialiasAxis axis = make_antialias_axis(source, scaled, crop, size);
    ASSERT_EQ(axis.windows.size(), size);
    ASSERT_LE(axis.begin + axis.length, source);
    std::uint32_t first = 0, end = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const auto& window = axis.windows[i];
      ASSERT_GE(window.count, 1U);
      ASSERT_LE(window.count, std::min<std::size_t>(axis.longest, axis.stride));
      ASSERT_GE(window.first, first) << source << " -> " << scaled << " at " << i;
      ASSERT_GE(window.first + window.count, end) << source << " -> " << scaled << " at " << i;
      first = window.first;
      end = window.first + window.count;
      const auto weights = axis.weights.begin() + static_cast<std::ptrdiff_t>(i * axis.stride);
      const auto one = std::accumulate(weights, weights + window.count, 0);
      // Half a unit of rounding for each tap.
      ASSERT_NEAR(one, 1 << antialias_kernels::kWeightBits, (window.count + 1) / 2);
    }
    ASSERT_EQ(end, axis.length);
  }
}

TEST(AntialiasAxis, AnAxisThatKeepsItsSizeTakesEachPositionByItself) {
  const AntialiasAxis axis = make_antialias_axis(50, 50, 10, 30);
  EXPECT_EQ(axis.begin, 10U);
  EXPECT_EQ(axis.length, 30U);
  EXPECT_EQ(axis.longest, 1U);
}

}  // namespace
}  // namespace fovea
