// Conversions, sums, upsampling, pooling and borders: every type pair, the fast form against the
// readable one.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/kernels/instruction_sets.hpp"
#include "tests/kernels/picture.hpp"

namespace fovea::kernel_test {
namespace {

using engine::Activation;
using engine::cpu::ThreadPool;
using engine::kernels::AveragePoolSpec;
using engine::kernels::CpuFeatures;
using engine::kernels::create_average_pool;
using engine::kernels::create_max_pool;
using engine::kernels::create_pointwise;
using engine::kernels::Kernel;
using engine::kernels::MaxPoolSpec;
using engine::kernels::PointwiseSpec;

constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBfloat16,
                               DataType::kUint8};
constexpr std::int64_t kChannels[] = {1, 3, 16, 17, 32, 64, 80, 144};

std::unique_ptr<ThreadPool> make_pool(int threads) {
  auto pool = ThreadPool::create({.threads = threads});
  EXPECT_TRUE(pool.has_value());
  return std::move(*pool);
}

void run(const Kernel& kernel, std::vector<const void*> sources, void* destination,
         ThreadPool& pool) {
  std::vector<std::byte> scratch(kernel.scratch_bytes(pool.threads()) + 64);
  const auto address = reinterpret_cast<std::uintptr_t>(scratch.data());
  void* const destinations[] = {destination};
  kernel.run({.sources = sources,
              .destinations = destinations,
              .scratch = scratch.data() + (64 - address % 64) % 64},
             pool);
}

void expect_close(Picture& expected, Picture& got, const std::string& what) {
  got.for_each([&](std::int64_t at) {
    const float want = expected.value(at);
    const DataType type = got.surface().type;
    // Steps of the exact activation's last bits: one code, one f16 or bf16 step, a few f32 ones.
    const float size = std::max(1.0F, std::abs(want));
    const float tolerance = type == DataType::kUint8      ? got.surface().grid.scale * 1.001F
                            : type == DataType::kFloat16  ? 1.1e-3F * size
                            : type == DataType::kBfloat16 ? 8.1e-3F * size
                                                          : 1e-6F * size;
    ASSERT_NEAR(got.value(at), want, tolerance) << what;
    got.data()[at * engine::kernels::element_bytes(type)] = std::byte{0};
    expected.data()[at * engine::kernels::element_bytes(type)] = std::byte{0};
  });
}

TEST(PointwiseTest, EveryTypePairMatchesTheReadableForm) {
  auto pool = make_pool(2);
  std::mt19937 random(1);
  int cases = 0;
  for (const DataType from_type : kTypes) {
    for (const DataType to_type : kTypes) {
      for (const std::int64_t channels : kChannels) {
        for (int option = 0; option < 12; ++option) {
          const int repeat = option % 2 + 1;
          const bool addend = option / 2 % 2 == 1;
          const std::int64_t gap = option / 4 * 3;
          const auto activation = static_cast<Activation>(cases++ % 6);
          constexpr std::int64_t kHeight = 3;
          constexpr std::int64_t kWidth = 5;
          Picture from(from_type, kHeight, kWidth, channels, {}, gap, {0.03F, 100});
          Picture other(kTypes[static_cast<std::size_t>(cases) % std::size(kTypes)], kHeight, kWidth, channels, {}, 1, {0.02F, 128});
          Picture to(to_type, kHeight * repeat, kWidth * repeat, channels, {1, 1, 1, 1}, gap,
                     {0.03F, 90});
          from.randomise(random);
          other.randomise(random);
          PointwiseSpec spec{
              .height = kHeight, .width = kWidth, .channels = channels, .from = from.surface()};
          if (addend) spec.addend = other.surface();
          spec.to = to.surface();
          spec.repeat = repeat;
          spec.activation = option < 4 ? Activation::kNone : activation;
          spec.activation_alpha = 0.1F;
          auto readable = create_pointwise(spec, {});
          ASSERT_TRUE(readable.has_value());
          std::vector<const void*> sources{from.data()};
          if (addend) sources.push_back(other.data());
          run(**readable, sources, to.data(), *pool);
          const Picture expected = to;
          for (const CpuFeatures& features : instruction_sets()) {
            auto fast = create_pointwise(spec, features);
            ASSERT_TRUE(fast.has_value());
            to.poison();
            run(**fast, sources, to.data(), *pool);
            Picture left = expected;
            expect_close(left, to, std::string((*fast)->implementation()));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(PointwiseTest, EqualTypesAreCopiedBitByBit) {
  auto pool = make_pool(2);
  std::mt19937 random(2);
  for (const DataType type : kTypes) {
    Picture from(type, 4, 6, 24, {}, 8, {0.1F, 7});
    Picture to(type, 8, 12, 24, {}, 0, {0.1F, 7});
    from.randomise(random);
    auto kernel = create_pointwise({.height = 4,
                                    .width = 6,
                                    .channels = 24,
                                    .from = from.surface(),
                                    .addend = {},
                                    .to = to.surface(),
                                    .repeat = 2});
    ASSERT_TRUE(kernel.has_value());
    EXPECT_EQ((*kernel)->implementation(), "copy");
    run(**kernel, {from.data()}, to.data(), *pool);
    for (std::int64_t y = 0; y < 8; ++y) {
      for (std::int64_t x = 0; x < 12; ++x) {
        for (std::int64_t c = 0; c < 24; ++c) {
          ASSERT_EQ(to.value(y * to.surface().row_stride + x * 24 + c),
                    from.value(y / 2 * from.surface().row_stride +
                               x / 2 * from.surface().pixel_stride + c));
        }
      }
    }
  }
}

TEST(PointwiseTest, QuantisedSumsSaturate) {
  auto pool = make_pool(1);
  for (const CpuFeatures& features : instruction_sets()) {
    constexpr Grid kGrid{0.5F, 200};
    for (int a = 0; a < 256; a += 5) {
      Picture left(DataType::kUint8, 1, 1, 256, {}, 0, kGrid);
      Picture right(DataType::kUint8, 1, 1, 256, {}, 0, kGrid);
      Picture sum(DataType::kUint8, 1, 1, 256, {}, 0, kGrid);
      for (int b = 0; b < 256; ++b) {
        left.data()[b] = static_cast<std::byte>(a);
        right.data()[b] = static_cast<std::byte>(b);
      }
      auto kernel = create_pointwise({.height = 1,
                                      .width = 1,
                                      .channels = 256,
                                      .from = left.surface(),
                                      .addend = right.surface(),
                                      .to = sum.surface()},
                                     features);
      ASSERT_TRUE(kernel.has_value());
      run(**kernel, {left.data(), right.data()}, sum.data(), *pool);
      for (int b = 0; b < 256; ++b) {
        ASSERT_EQ(std::to_integer<int>(sum.data()[b]), std::clamp(a + b - 200, 0, 255))
            << a << " " << b;
      }
    }
  }
}

TEST(MaxPoolTest, EveryWindowMatchesTheDefinition) {
  struct Case {
    std::int64_t kernel, stride, pad;
  };
  constexpr Case kCases[] = {{5, 1, 2}, {2, 2, 0}, {3, 2, 1}, {13, 1, 6}, {1, 1, 0}};
  auto pool = make_pool(2);
  std::mt19937 random(3);
  for (const CpuFeatures& features : instruction_sets()) {
    for (const DataType type : kTypes) {
      for (const std::int64_t channels : kChannels) {
        for (const Case& c : kCases) {
          constexpr std::int64_t kIn = 7;
          const std::int64_t out = (kIn + 2 * c.pad - c.kernel) / c.stride + 1;
          if (kIn + 2 * c.pad < c.kernel) continue;
          Picture from(type, kIn, kIn + 1, channels, {}, 2, {0.1F, 7});
          Picture to(type, out, (kIn + 1 + 2 * c.pad - c.kernel) / c.stride + 1, channels,
                     {1, 1, 1, 1}, 1, {0.1F, 7});
          from.randomise(random);
          const std::int64_t out_width = (kIn + 1 + 2 * c.pad - c.kernel) / c.stride + 1;
          auto kernel = create_max_pool({.channels = channels,
                                         .in_height = kIn,
                                         .in_width = kIn + 1,
                                         .out_height = out,
                                         .out_width = out_width,
                                         .kernel_height = c.kernel,
                                         .kernel_width = c.kernel,
                                         .stride_height = c.stride,
                                         .stride_width = c.stride,
                                         .pad_top = c.pad,
                                         .pad_left = c.pad,
                                         .from = from.surface(),
                                         .to = to.surface()},
                                        features);
          ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
          run(**kernel, {from.data()}, to.data(), *pool);
          for (std::int64_t y = 0; y < out; ++y) {
            for (std::int64_t x = 0; x < out_width; ++x) {
              for (std::int64_t channel = 0; channel < channels; ++channel) {
                float best = -INFINITY;
                for (std::int64_t k = 0; k < c.kernel * c.kernel; ++k) {
                  const std::int64_t row = y * c.stride - c.pad + k / c.kernel;
                  const std::int64_t column = x * c.stride - c.pad + k % c.kernel;
                  if (row < 0 || row >= kIn || column < 0 || column >= kIn + 1) continue;
                  best = std::max(best, from.value(row * from.surface().row_stride +
                                                   column * from.surface().pixel_stride + channel));
                }
                ASSERT_EQ(
                    to.value(y * to.surface().row_stride + x * to.surface().pixel_stride + channel),
                    best);
              }
            }
          }
        }
      }
    }
  }
}

TEST(AveragePoolTest, EveryWindowMatchesTheDefinition) {
  struct Case {
    std::int64_t kernel, stride, pad, pad_end;
    bool count_padding;
  };
  constexpr Case kCases[] = {{2, 1, 0, 0, true},  {2, 2, 0, 0, false}, {3, 2, 1, 1, true},
                             {3, 2, 1, 1, false}, {3, 2, 0, 1, true},  {7, 1, 0, 0, false}};
  constexpr std::int64_t kIn = 7;
  auto pool = make_pool(2);
  std::mt19937 random(4);
  for (const CpuFeatures& features : instruction_sets()) {
    for (const DataType from_type : kTypes) {
      for (const DataType to_type : kTypes) {
        for (const std::int64_t channels : {1, 17, 64}) {
          for (const Case& c : kCases) {
            const std::int64_t out = (kIn + c.pad + c.pad_end - c.kernel) / c.stride + 1;
            const std::int64_t out_width = (kIn + 1 + c.pad + c.pad_end - c.kernel) / c.stride + 1;
            Picture from(from_type, kIn, kIn + 1, channels, {}, 2, {0.1F, 7});
            Picture to(to_type, out, out_width, channels, {1, 1, 1, 1}, 1, {0.05F, 120});
            from.randomise(random);
            AveragePoolSpec spec{.pool = {.channels = channels,
                                          .in_height = kIn,
                                          .in_width = kIn + 1,
                                          .out_height = out,
                                          .out_width = out_width,
                                          .kernel_height = c.kernel,
                                          .kernel_width = c.kernel,
                                          .stride_height = c.stride,
                                          .stride_width = c.stride,
                                          .pad_top = c.pad,
                                          .pad_left = c.pad,
                                          .from = from.surface(),
                                          .to = to.surface()}};
            spec.count_padding = c.count_padding;
            spec.pad_bottom = spec.pad_right = c.pad_end;
            auto kernel = create_average_pool(spec, features);
            ASSERT_TRUE(kernel.has_value()) << kernel.error().message;
            Picture expected = to;
            run(**kernel, {from.data()}, to.data(), *pool);
            for (std::int64_t y = 0; y < out; ++y) {
              for (std::int64_t x = 0; x < out_width; ++x) {
                for (std::int64_t channel = 0; channel < channels; ++channel) {
                  float sum = 0;
                  int count = 0;
                  for (std::int64_t k = 0; k < c.kernel * c.kernel; ++k) {
                    const std::int64_t row = y * c.stride - c.pad + k / c.kernel;
                    const std::int64_t column = x * c.stride - c.pad + k % c.kernel;
                    const bool inside = row >= 0 && row < kIn && column >= 0 && column <= kIn;
                    if (inside) {
                      sum += from.value(row * from.surface().row_stride +
                                        column * from.surface().pixel_stride + channel);
                    }
                    const bool padded = row < kIn + c.pad_end && column < kIn + 1 + c.pad_end;
                    count += inside || (c.count_padding && padded) ? 1 : 0;
                  }
                  engine::kernels::store_element(
                      expected.data(), to_type, to.surface().grid,
                      y * to.surface().row_stride + x * to.surface().pixel_stride + channel,
                      sum / static_cast<float>(count));
                }
              }
            }
            expect_close(expected, to, std::string((*kernel)->implementation()));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(MaxPoolTest, WindowsOutsideThePictureAreRefused) {
  Picture picture(DataType::kFloat32, 4, 4, 8);
  MaxPoolSpec spec{.channels = 8, .in_height = 4, .in_width = 4, .out_height = 9, .out_width = 4};
  spec.from = spec.to = picture.surface();
  auto kernel = create_max_pool(spec);
  ASSERT_FALSE(kernel.has_value());
  EXPECT_EQ(
      kernel.error().message,
      "a window of height lies outside the picture: 4 pixels, 9 windows of 1, stride 1, padding 0");
}

TEST(FillBorderTest, WritesTheZeroPointAroundThePictureOnly) {
  Picture picture(DataType::kUint8, 2, 3, 4, {2, 1, 1, 2}, 1, {0.1F, 77});
  fill_border(picture.data(), picture.surface(), 2, 3, 4, {2, 1, 1, 2});
  std::int64_t zeros = 0;
  for (const std::byte byte : picture.bytes()) {
    ASSERT_TRUE(byte == std::byte{77} || byte == std::byte{0xff});
    zeros += byte == std::byte{77} ? 1 : 0;
  }
  EXPECT_EQ(zeros, (5 * 6 - 2 * 3) * 4);
  picture.for_each([&](std::int64_t at) { EXPECT_EQ(picture.data()[at], std::byte{0xff}); });
}

}  // namespace
}  // namespace fovea::kernel_test
