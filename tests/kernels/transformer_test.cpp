// What transformers need beside convolutions: normalised rows, products with known weights, the error
// function, and places of a map read by a grid; each implementation against loops over indices.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "nodes/detector/engine/cpu/kernels/grid_sample.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor.hpp"
#include "tests/kernels/instruction_sets.hpp"

namespace fovea::kernel_test {
namespace {

using namespace engine::kernels;  // NOLINT: the operators under test
using engine::DataType;
using engine::Dims;
using engine::cpu::ThreadPool;
using Floats = std::vector<float>;

Floats noise(std::int64_t count, unsigned seed, float spread = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

TensorView view(Dims strides) { return {DataType::kFloat32, {}, std::move(strides)}; }

Floats run(const Kernel& kernel, std::vector<const void*> sources, std::int64_t size) {
  auto pool = ThreadPool::create({.threads = 2});
  EXPECT_TRUE(pool.has_value());
  std::vector<std::byte> scratch(kernel.scratch_bytes(2) + 64);
  const auto address = reinterpret_cast<std::uintptr_t>(scratch.data());
  Floats to(static_cast<std::size_t>(size), -99.0F);
  void* destinations[] = {to.data()};
  kernel.run({.sources = sources,
              .destinations = destinations,
              .scratch = scratch.data() + (64 - address % 64) % 64},
             **pool);
  return to;
}

TEST(TensorLayerNormalization, RowsOfAnyLengthWithAndWithoutBias) {
  for (const CpuFeatures& features : instruction_sets()) {
    for (const std::int64_t count : {1, 7, 16, 33, 256}) {
      for (const bool biased : {false, true}) {
        constexpr std::int64_t kRows = 5;
        const Floats from = noise(kRows * count, 1, 3);
        const Floats scale = noise(count, 2);
        const Floats bias = biased ? noise(count, 3) : Floats{};
        constexpr float kEpsilon = 1e-5F;
        const auto kernel = create_layer_normalization(
            {{kRows, count}, view({count, 1}), view({count, 1}), scale, bias, kEpsilon}, features);
        ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
        const Floats got = run(**kernel, {from.data()}, kRows * count);
        for (std::int64_t r = 0; r < kRows; ++r) {
          const float* row = from.data() + r * count;
          double mean = 0;
          for (std::int64_t i = 0; i < count; ++i) mean += static_cast<double>(row[i]);
          mean /= static_cast<double>(count);
          double variance = 0;
          for (std::int64_t i = 0; i < count; ++i) {
            variance += (static_cast<double>(row[i]) - mean) * (static_cast<double>(row[i]) - mean);
          }
          variance /= static_cast<double>(count);
          for (std::int64_t i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const double want = (static_cast<double>(row[i]) - mean) /
                                    std::sqrt(variance + static_cast<double>(kEpsilon)) *
                                    static_cast<double>(scale[at]) +
                                (biased ? static_cast<double>(bias[at]) : 0);
            ASSERT_NEAR(got[static_cast<std::size_t>(r * count + i)], want, 1e-5) << count;
          }
        }
      }
    }
  }
}

TEST(TensorMap, ErrorFunctionAndGelu) {
  Floats from = noise(1000, 4, 2);
  from[0] = 0;
  from[1] = 30;
  from[2] = -30;
  from[3] = 1e-30F;
  from[4] = std::numeric_limits<float>::quiet_NaN();
  for (const CpuFeatures& features : instruction_sets()) {
    for (const MapOp op : {MapOp::kErf, MapOp::kGelu}) {
      const auto kernel = create_map({op, {1000}, {{view({1}), {}}}, view({1})}, features);
      ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
      const Floats got = run(**kernel, {from.data()}, 1000);
      EXPECT_TRUE(std::isnan(got[4]));
      for (std::size_t i = 0; i < from.size(); ++i) {
        if (i == 4) continue;
        const auto x = static_cast<double>(from[i]);
        const double want =
            op == MapOp::kErf ? std::erf(x) : x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
        ASSERT_NEAR(got[i], want, 1e-6 * std::max(1.0, std::abs(x))) << x;
      }
    }
  }
}

TEST(TensorMatMul, KnownWeightsEitherWayRoundWithABias) {
  constexpr std::int64_t kRows = 13;
  constexpr std::int64_t kDepth = 20;
  for (const CpuFeatures& features : instruction_sets()) {
    for (const std::int64_t columns : {1, 31, 32, 70}) {
      for (const bool transposed : {false, true}) {
        const Floats a = noise(2 * kRows * kDepth, 5);
        const Floats weights = noise(kDepth * columns, 6);
        const Floats bias = noise(columns, 7);
        MatMulSpec spec{{2},
                        kRows,
                        columns,
                        kDepth,
                        view({kRows * kDepth, kDepth, 1}),
                        view({0, columns, 1}),
                        view({kRows * columns, columns, 1})};
        if (transposed) spec.b.strides = {0, 1, kDepth};
        spec.weights = weights;
        spec.bias = bias;
        const auto kernel = create_matmul(spec, features);
        ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
        const Floats got = run(**kernel, {a.data()}, 2 * kRows * columns);
        for (std::int64_t r = 0; r < 2 * kRows; ++r) {
          for (std::int64_t c = 0; c < columns; ++c) {
            auto want = static_cast<double>(bias[static_cast<std::size_t>(c)]);
            for (std::int64_t k = 0; k < kDepth; ++k) {
              const std::int64_t at = transposed ? c * kDepth + k : k * columns + c;
              want += static_cast<double>(a[static_cast<std::size_t>(r * kDepth + k)]) *
                      static_cast<double>(weights[static_cast<std::size_t>(at)]);
            }
            ASSERT_NEAR(got[static_cast<std::size_t>(r * columns + c)], want, 2e-5) << columns;
          }
        }
      }
    }
  }
}

// One axis of the definition, in double: which pixels, and how much of each.
double sampled(const float* map, std::int64_t channel_stride, std::int64_t channel,
               const GridSampleSpec& spec, double x, double y) {
  const auto place = [&](double at, std::int64_t extent) {
    const auto size = static_cast<double>(extent);
    double p = spec.align_corners ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
    if (spec.nearest) p = std::nearbyint(p);
    const double low = spec.align_corners ? 0 : -0.5;
    const double high = spec.align_corners ? size - 1 : size - 0.5;
    if (spec.padding == SamplePadding::kReflection) {
      while (p < low || p > high) p = p < low ? 2 * low - p : 2 * high - p;
    }
    return spec.padding == SamplePadding::kZeros ? p : std::clamp(p, 0.0, size - 1);
  };
  const double px = place(x, spec.width);
  const double py = place(y, spec.height);
  double sum = 0;
  for (std::int64_t row = 0; row < spec.height; ++row) {
    for (std::int64_t column = 0; column < spec.width; ++column) {
      const double weight = std::max(0.0, 1 - std::abs(px - static_cast<double>(column))) *
                            std::max(0.0, 1 - std::abs(py - static_cast<double>(row)));
      sum += weight *
             static_cast<double>(map[row * spec.from.strides[2] + column * spec.from.strides[3] +
                                     channel * channel_stride]);
    }
  }
  return sum;
}

TEST(GridSampleKernel, EveryModeAndLayoutMatchesTheDefinition) {
  constexpr std::int64_t kBatch = 2;
  constexpr std::int64_t kChannels = 19;
  constexpr std::int64_t kHeight = 5;
  constexpr std::int64_t kWidth = 7;
  constexpr std::int64_t kPlaces = 60;
  const Floats from = noise(kBatch * kChannels * kHeight * kWidth, 8);
  const Floats grid = noise(kBatch * kPlaces * 2, 9, 0.9F);
  for (const CpuFeatures& features : instruction_sets()) {
    for (const SamplePadding padding :
         {SamplePadding::kZeros, SamplePadding::kBorder, SamplePadding::kReflection}) {
      for (int flags = 0; flags < 8; ++flags) {
        const bool planar = (flags & 4) != 0;
        GridSampleSpec spec{.batch = kBatch,
                            .channels = kChannels,
                            .height = kHeight,
                            .width = kWidth,
                            .out_height = kPlaces / 4,
                            .out_width = 4,
                            .nearest = (flags & 1) != 0,
                            .align_corners = (flags & 2) != 0,
                            .padding = padding,
                            .from = {},
                            .grid = view({kPlaces * 2, 8, 2, 1}),
                            .to = view({kChannels * kPlaces, kPlaces, 4, 1})};
        constexpr std::int64_t kPixels = kHeight * kWidth;
        spec.from = planar ? view({kChannels * kPixels, kPixels, kWidth, 1})
                           : view({kChannels * kPixels, 1, kWidth * kChannels, kChannels});
        const auto kernel = create_grid_sample(spec, features);
        ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
        const Floats got = run(**kernel, {from.data(), grid.data()}, kBatch * kChannels * kPlaces);
        for (std::int64_t n = 0; n < kBatch; ++n) {
          for (std::int64_t p = 0; p < kPlaces; ++p) {
            const auto at = static_cast<std::size_t>((n * kPlaces + p) * 2);
            for (std::int64_t c = 0; c < kChannels; c += 6) {
              const double want =
                  sampled(from.data() + n * kChannels * kPixels, spec.from.strides[1], c, spec,
                          static_cast<double>(grid[at]), static_cast<double>(grid[at + 1]));
              ASSERT_NEAR(got[static_cast<std::size_t>((n * kChannels + c) * kPlaces + p)], want,
                          2e-5)
                  << "flags " << flags << " padding " << static_cast<int>(padding) << " place "
                  << p;
            }
          }
        }
      }
    }
  }
}

TEST(GridSampleKernel, APlaceThatIsNoNumberIsReadAsNothing) {
  const Floats from(4, 1.0F);
  const Floats grid = {std::numeric_limits<float>::quiet_NaN(), 0, 1e30F, 0};
  for (const CpuFeatures& features : instruction_sets()) {
    GridSampleSpec spec{.batch = 1,
                        .channels = 1,
                        .height = 2,
                        .width = 2,
                        .out_height = 1,
                        .out_width = 2,
                        .from = view({4, 4, 2, 1}),
                        .grid = view({4, 4, 2, 1}),
                        .to = view({2, 2, 2, 1})};
    const auto kernel = create_grid_sample(spec, features);
    ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
    EXPECT_EQ(run(**kernel, {from.data(), grid.data()}, 2), (Floats{0, 0}));
  }
}

TEST(TransformerSpecs, ContradictionsAreRefusedWithTheValue) {
  const auto normalization =
      create_layer_normalization({{2, 3}, view({3, 1}), view({3, 1}), {1, 1}, {}, 0});
  ASSERT_FALSE(normalization.has_value());
  EXPECT_EQ(normalization.error().message, "there are 2 scales and 0 biases for an axis of 3");
  MatMulSpec product{{}, 2, 3, 2, view({2, 1}), view({3, 1}), view({3, 1})};
  product.weights = {1, 2, 3, 4, 5};
  ASSERT_FALSE(create_matmul(product).has_value());
  EXPECT_EQ(create_matmul(product).error().message, "5 weights are read up to 5, or by batch");
  product.weights.push_back(6);
  product.bias = {1};
  ASSERT_FALSE(create_matmul(product).has_value());
  EXPECT_EQ(create_matmul(product).error().message, "there are 1 biases for 3 columns");
  EXPECT_FALSE(create_grid_sample({}).has_value());
}

}  // namespace
}  // namespace fovea::kernel_test
