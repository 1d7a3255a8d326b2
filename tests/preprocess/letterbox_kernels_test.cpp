// Every instruction set this CPU has gives the bits of the readable kernels.
#include "nodes/preprocess/letterbox_kernels.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace fovea::letterbox_kernels {
namespace {

constexpr std::size_t kCounts[] = {0, 1, 3, 4, 5, 6, 7, 8, 15, 16, 17, 31, 63, 64, 65, 100, 1921};

TEST(LetterboxKernels, EveryIsaBlendsRowsLikeTheScalarKernel) {
  std::mt19937 random(1);
  for (const NamedKernels& candidate : all_kernels()) {
    for (const std::size_t count : kCounts) {
      std::vector<std::uint8_t> upper(count), lower(count);
      for (auto& value : upper) value = static_cast<std::uint8_t>(random());
      for (auto& value : lower) value = static_cast<std::uint8_t>(random());
      for (const int weight : {0, 1, 683, 1024, 2047, 2048}) {
        // The element behind the end shows whether a kernel writes too far.
        std::vector<std::int16_t> expected(count + 1, -7), got(count + 1, -7);
        scalar_kernels().blend_rows(upper.data(), lower.data(), kWeightOne - weight, weight, count,
                                    expected.data());
        candidate.kernels->blend_rows(upper.data(), lower.data(), kWeightOne - weight, weight,
                                      count, got.data());
        ASSERT_EQ(got, expected) << candidate.name << " count " << count << " weight " << weight;
      }
    }
  }
}

TEST(LetterboxKernels, EveryIsaResamplesLikeTheScalarKernel) {
  std::mt19937 random(2);
  constexpr std::uint32_t kSourcePixels = 300;
  for (const Order order : {Order::kRgb, Order::kBgr, Order::kMono}) {
    const std::uint32_t channels = order == Order::kMono ? 1 : 3;
    std::vector<std::int16_t> blended(kSourcePixels * channels + kSlack);
    for (auto& value : blended) value = static_cast<std::int16_t>(random() % 32641);
    for (const std::size_t count : kCounts) {
      std::vector<ColumnTap> taps(count);
      for (ColumnTap& tap : taps) {
        tap.offset = static_cast<std::uint32_t>(random() % kSourcePixels) * channels;
        tap.weight_right = static_cast<std::int16_t>(random() % (kWeightOne + 1));
        tap.weight_left = static_cast<std::int16_t>(kWeightOne - tap.weight_right);
      }
      std::vector<std::uint8_t> expected(3 * count + 1, 77);
      scalar_kernels().resample_row(blended.data(), taps.data(), count, order, expected.data());
      for (const NamedKernels& candidate : all_kernels()) {
        std::vector<std::uint8_t> got(3 * count + 1, 77);
        candidate.kernels->resample_row(blended.data(), taps.data(), count, order, got.data());
        ASSERT_EQ(got, expected) << candidate.name << " count " << count << " order "
                                 << static_cast<int>(order);
      }
    }
  }
}

TEST(LetterboxKernels, EveryIsaConvertsRowsToRgb) {
  std::mt19937 random(3);
  for (const Order order : {Order::kRgb, Order::kBgr, Order::kMono}) {
    const std::size_t channels = order == Order::kMono ? 1 : 3;
    for (const std::size_t count : kCounts) {
      std::vector<std::uint8_t> source(channels * count);
      for (auto& value : source) value = static_cast<std::uint8_t>(random());
      std::vector<std::uint8_t> expected(3 * count + 1, 77);
      for (std::size_t x = 0; x < count; ++x) {
        for (std::size_t c = 0; c < 3; ++c) {
          expected[3 * x + c] = order == Order::kMono  ? source[x]
                                : order == Order::kRgb ? source[3 * x + c]
                                                       : source[3 * x + 2 - c];
        }
      }
      for (const NamedKernels& candidate : all_kernels()) {
        std::vector<std::uint8_t> got(3 * count + 1, 77);
        candidate.kernels->convert_row(source.data(), count, order, got.data());
        ASSERT_EQ(got, expected) << candidate.name << " count " << count << " order "
                                 << static_cast<int>(order);
      }
    }
  }
}

TEST(LetterboxKernels, ChoosesAKernelThatIsOnTheList) {
  const auto all = all_kernels();
  EXPECT_TRUE(std::any_of(all.begin(), all.end(), [](const NamedKernels& candidate) {
    return candidate.kernels == &best_kernels();
  }));
}

}  // namespace
}  // namespace fovea::letterbox_kernels
