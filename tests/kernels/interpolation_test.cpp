// Linear interpolation: every type, against its definition.
#include "nodes/detector/engine/cpu/kernels/interpolation.hpp"

#include <algorithm>
#include <cmath>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kernels/instruction_sets.hpp"
#include "tests/kernels/picture.hpp"

namespace fovea::kernel_test {
namespace {

using engine::cpu::ThreadPool;
using engine::kernels::CpuFeatures;
using engine::kernels::create_interpolation;
using engine::kernels::InterpolationSpec;
using engine::kernels::InterpolationTap;

constexpr engine::kernels::Grid kGrid{0.05F, 128};

std::vector<InterpolationTap> taps(std::int64_t in, std::int64_t out) {
  std::vector<InterpolationTap> taps;
  for (std::int64_t i = 0; i < out; ++i) {
    const float at = static_cast<float>(i) * static_cast<float>(in - 1) /
                     static_cast<float>(std::max<std::int64_t>(out - 1, 1));
    const auto low = static_cast<std::int64_t>(at);
    taps.push_back({low, std::min(low + 1, in - 1), at - static_cast<float>(low)});
  }
  return taps;
}

TEST(InterpolationTest, EveryTypeMatchesTheDefinition) {
  std::mt19937 random(1);
  for (const int threads : {1, 3}) {
    auto pool = ThreadPool::create({.threads = threads});
    ASSERT_TRUE(pool);
    for (const CpuFeatures& features : instruction_sets()) {
      for (const DataType type : {DataType::kFloat32, DataType::kFloat16, DataType::kUint8}) {
        for (const std::int64_t channels : {1, 3, 16, 40}) {
          constexpr std::int64_t kHeight = 5;
          constexpr std::int64_t kWidth = 7;
          Picture from(type, kHeight, kWidth, channels, {}, 2, kGrid);
          from.randomise(random);
          Picture to(type, 2 * kHeight, 3 * kWidth, channels, {}, 1, kGrid);
          const InterpolationSpec spec{.height = kHeight,
                                       .width = kWidth,
                                       .channels = channels,
                                       .rows = taps(kHeight, 2 * kHeight),
                                       .columns = taps(kWidth, 3 * kWidth),
                                       .from = from.surface(),
                                       .to = to.surface()};
          const auto kernel = create_interpolation(spec, features);
          ASSERT_TRUE(kernel) << kernel.error().message;
          std::vector<std::byte> scratch((*kernel)->scratch_bytes(threads) + 64);
          const auto address = reinterpret_cast<std::uintptr_t>(scratch.data());
          const void* const sources[] = {from.data()};
          void* const destinations[] = {to.data()};
          (*kernel)->run({.sources = sources,
                          .destinations = destinations,
                          .scratch = scratch.data() + (64 - address % 64) % 64},
                         **pool);
          for (std::size_t y = 0; y < spec.rows.size(); ++y) {
            for (std::size_t x = 0; x < spec.columns.size(); ++x) {
              for (std::int64_t c = 0; c < channels; ++c) {
                const auto value = [&](std::int64_t row, std::int64_t column) {
                  return from.value(row * from.surface().row_stride +
                                    column * from.surface().pixel_stride + c);
                };
                const InterpolationTap& v = spec.rows[y];
                const InterpolationTap& h = spec.columns[x];
                const float upper =
                    std::lerp(value(v.low, h.low), value(v.low, h.high), h.fraction);
                const float lower =
                    std::lerp(value(v.high, h.low), value(v.high, h.high), h.fraction);
                const float wanted = std::lerp(upper, lower, v.fraction);
                const float tolerance = type == DataType::kUint8     ? kGrid.scale * 0.51F
                                        : type == DataType::kFloat16 ? 5e-3F
                                                                     : 1e-5F;
                const auto at = static_cast<std::int64_t>(y) * to.surface().row_stride +
                                static_cast<std::int64_t>(x) * to.surface().pixel_stride + c;
                ASSERT_NEAR(to.value(at), wanted, tolerance) << y << ' ' << x << ' ' << c;
              }
            }
          }
        }
      }
    }
  }
}

TEST(InterpolationTest, TapsOutsideThePictureAreRefused) {
  Picture picture(DataType::kFloat32, 2, 2, 1, {}, 0, kGrid);
  InterpolationSpec spec{.height = 2,
                         .width = 2,
                         .channels = 1,
                         .rows = taps(2, 4),
                         .columns = taps(2, 4),
                         .from = picture.surface(),
                         .to = picture.surface()};
  ASSERT_TRUE(create_interpolation(spec));
  spec.columns.back().high = 2;
  EXPECT_FALSE(create_interpolation(spec));
  spec.columns.clear();
  EXPECT_FALSE(create_interpolation(spec));
}

}  // namespace
}  // namespace fovea::kernel_test
