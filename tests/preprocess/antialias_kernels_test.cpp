// Every instruction set this CPU has gives the bits of the readable kernels of the antialiased
// resize.
#include "nodes/preprocess/antialias_kernels.hpp"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace fovea::antialias_kernels {
namespace {

constexpr std::size_t kCounts[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 67, 224};
constexpr std::uint32_t kMostTaps = 13;
constexpr std::size_t kStride = 16;

struct Filter {
  std::vector<Window> windows;
  std::vector<std::int32_t> weights;
};

// Windows all over a row, weights that sum to 2^22 or, to reach the clamp, a little more.
Filter random_filter(std::mt19937& random, std::size_t count, std::uint32_t source_pixels) {
  Filter filter;
  filter.weights.assign(count * kStride, 0);
  for (std::size_t x = 0; x < count; ++x) {
    const auto taps = static_cast<std::uint32_t>(1 + random() % kMostTaps);
    filter.windows.push_back(
        {static_cast<std::uint32_t>(random() % (source_pixels - taps + 1)), taps});
    std::int32_t rest = (1 << kWeightBits) + static_cast<std::int32_t>(random() % 20000);
    for (std::uint32_t k = 0; k < taps; ++k) {
      const auto share = static_cast<std::int32_t>(random() % 1000);
      const std::int32_t weight = k + 1 == taps ? rest : rest / 2000 * share;
      filter.weights[x * kStride + k] = weight;
      rest -= weight;
    }
  }
  return filter;
}

// Darkest and brightest often, for the roundings at both ends.
std::vector<std::uint8_t> random_samples(std::mt19937& random, std::size_t count) {
  std::vector<std::uint8_t> samples(count);
  for (auto& sample : samples) {
    const auto value = random();
    sample = (value & 0x300) == 0 ? static_cast<std::uint8_t>(-(value >> 31)) : value & 255;
  }
  return samples;
}

TEST(AntialiasKernels, EveryIsaTurnsRowsIntoBlocksAndBack) {
  std::mt19937 random(3);
  for (const NamedKernels& candidate : all_kernels()) {
    for (const std::size_t count : kCounts) {
      std::vector<std::vector<std::uint8_t>> rows(kRows), back(kRows);
      std::vector<const std::uint8_t*> from;
      std::vector<std::uint8_t*> to;
      for (std::size_t r = 0; r < kRows; ++r) {
        rows[r] = random_samples(random, count);
        from.push_back(rows[r].data());
        back[r].assign(count + 1, 77);  // the last one shows whether a kernel writes too far
        to.push_back(back[r].data());
      }
      std::vector<std::uint8_t> block(count * kRows + 1, 77);
      candidate.kernels->gather_rows(from.data(), count, block.data());
      EXPECT_EQ(block.back(), 77) << candidate.name << " count " << count;
      for (std::size_t i = 0; i < count * kRows; ++i) {
        ASSERT_EQ(block[i], rows[i % kRows][i / kRows]) << candidate.name << " count " << count;
      }
      candidate.kernels->scatter_rows(block.data(), count, to.data());
      for (std::size_t r = 0; r < kRows; ++r) {
        rows[r].push_back(77);
        ASSERT_EQ(back[r], rows[r]) << candidate.name << " count " << count << " row " << r;
      }
    }
  }
}

TEST(AntialiasKernels, EveryIsaFiltersBlocksLikeTheScalarKernel) {
  std::mt19937 random(1);
  constexpr std::uint32_t kSourcePixels = 300;
  for (const std::size_t channels : {1, 3}) {
    for (const std::size_t count : kCounts) {
      const auto block = random_samples(random, kSourcePixels * channels * kRows);
      const Filter filter = random_filter(random, count, kSourcePixels);
      std::vector<std::uint8_t> expected(count * channels * kRows + 1, 77);
      scalar_kernels().filter_block(block.data(), filter.windows.data(), filter.weights.data(),
                                    kStride, channels, count, expected.data());
      for (const NamedKernels& candidate : all_kernels()) {
        std::vector<std::uint8_t> got(count * channels * kRows + 1, 77);
        candidate.kernels->filter_block(block.data(), filter.windows.data(), filter.weights.data(),
                                        kStride, channels, count, got.data());
        ASSERT_EQ(got, expected) << candidate.name << " count " << count << " channels "
                                 << channels;
      }
    }
  }
}

TEST(AntialiasKernels, EveryIsaAddsRowsLikeTheScalarKernel) {
  std::mt19937 random(2);
  for (const std::size_t count : kCounts) {
    for (const std::size_t taps : {1, 2, 3, 10, 13}) {
      std::vector<std::vector<std::uint8_t>> rows;
      std::vector<const std::uint8_t*> pointers;
      for (std::size_t k = 0; k < taps; ++k) {
        rows.push_back(random_samples(random, count));
        pointers.push_back(rows.back().data());
      }
      std::vector<std::int32_t> weights(taps, (1 << kWeightBits) / static_cast<int>(taps));
      weights[0] += 9000;
      std::vector<std::uint8_t> expected(count + 1, 77);
      scalar_kernels().add_rows(pointers.data(), weights.data(), taps, count, expected.data());
      for (const NamedKernels& candidate : all_kernels()) {
        std::vector<std::uint8_t> got(count + 1, 77);
        candidate.kernels->add_rows(pointers.data(), weights.data(), taps, count, got.data());
        ASSERT_EQ(got, expected) << candidate.name << " count " << count << " taps " << taps;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::antialias_kernels
