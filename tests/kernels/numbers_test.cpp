// The arithmetic that kernels are made of: half precision, vector activations, instruction set
// limits.
#include <bit>
#include <cmath>

#include <gtest/gtest.h>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"
#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "tests/kernels/instruction_sets.hpp"

namespace fovea::engine::kernels {
namespace {

TEST(HalfTest, EveryHalfSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half);
    }
  }
}

TEST(HalfTest, RoundsToTheNearestAndTiesToEven) {
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = half_to_float(static_cast<std::uint16_t>(bits));
    const float high = half_to_float(static_cast<std::uint16_t>(bits + 1));
    const float middle = (low + high) / 2;  // exact in f32
    const auto even = static_cast<std::uint16_t>(bits + (bits & 1U));
    ASSERT_EQ(float_to_half(middle), even);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0F)), bits);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9F)), bits + 1);
    ASSERT_EQ(float_to_half(-middle), even | 0x8000U);
  }
  EXPECT_EQ(float_to_half(65519.0F), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0F), 0x7c00);
  EXPECT_EQ(float_to_half(INFINITY), 0x7c00);
}

TEST(HalfTest, Bfloat16RoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const float low = bfloat_to_float(static_cast<std::uint16_t>(bits));
    ASSERT_EQ(float_to_bfloat(low), bits);
    const float middle = std::bit_cast<float>(bits << 16 | 0x8000U);
    const std::uint32_t even = bits + bits % 2;
    ASSERT_EQ(float_to_bfloat(middle), even);
    ASSERT_EQ(float_to_bfloat(std::nextafter(middle, 0.0F)), bits);
    ASSERT_EQ(float_to_bfloat(std::nextafter(middle, INFINITY)), bits + 1);
    ASSERT_EQ(float_to_bfloat(-middle), even | 0x8000U);
  }
  EXPECT_EQ(float_to_bfloat(INFINITY), 0x7f80);
  EXPECT_TRUE(std::isnan(bfloat_to_float(float_to_bfloat(NAN))));
  EXPECT_TRUE(std::isnan(bfloat_to_float(float_to_bfloat(std::bit_cast<float>(0x7f800001U)))));
}

TEST(ActivationTest, VectorSiluAndSigmoidAreAccurateToAMillionth) {
  std::vector<float> inputs;
  for (float x = -87; x < 100; x += 0.0037F) inputs.push_back(x);
  for (float x = 1e-30F; x < 1; x *= 3) inputs.insert(inputs.end(), {x, -x});
  for (const CpuFeatures& features : kernel_test::instruction_sets()) {
    for (const Activation activation : {Activation::kSilu, Activation::kSigmoid}) {
      std::vector<float> outputs(inputs.size());
      PointwiseJob job;
      job.from = {inputs.data(), static_cast<std::int64_t>(inputs.size()), DataType::kFloat32, {}};
      job.to = outputs.data();
      job.to_stride = static_cast<std::int64_t>(inputs.size());
      job.pixels = 1;
      job.channels = static_cast<std::int64_t>(inputs.size());
      job.activation = activation;
      best_rows(features).pointwise(job);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const double x = static_cast<double>(inputs[i]);
        const double want = (activation == Activation::kSilu ? x : 1.0) / (1 + std::exp(-x));
        // Below about -10, where e^x is small, only the absolute error is.
        ASSERT_LE(std::abs(static_cast<double>(outputs[i]) - want), 1e-6 * std::abs(want) + 1e-9)
            << x << " with " << to_string(features);
      }
    }
  }
}

TEST(ActivationTest, ExtremeInputsStayFiniteOrBecomeTheLimit) {
  for (const CpuFeatures& features : kernel_test::instruction_sets()) {
    const float inputs[] = {-1e30F, -200, -100, 0, 100, 200, 1e30F};
    float outputs[7];
    PointwiseJob job;
    job.from = {inputs, 7, DataType::kFloat32, {}};
    job.to = outputs;
    job.to_stride = 7;
    job.pixels = 1;
    job.channels = 7;
    job.activation = Activation::kSigmoid;
    best_rows(features).pointwise(job);
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(outputs[i], 0, 1e-37F);
    EXPECT_EQ(outputs[3], 0.5F);
    for (int i = 4; i < 7; ++i) EXPECT_EQ(outputs[i], 1.0F);
  }
}

TEST(IsaTest, LimitsNameTheHighestAllowedExtension) {
  constexpr CpuFeatures kXeon{.avx2 = true,
                              .avx_vnni = true,
                              .avx512 = true,
                              .avx512_vnni = true,
                              .avx512_vbmi = true,
                              .avx512_fp16 = true};
  CpuFeatures tiles = kXeon;
  tiles.amx_int8 = tiles.amx_bf16 = true;
  EXPECT_EQ(limit_features(tiles, InstructionSet::kAmx), tiles);
  EXPECT_EQ(limit_features(tiles, InstructionSet::kAvx512Fp16), kXeon);
  EXPECT_EQ(limit_features(kXeon, InstructionSet::kAvx512Fp16), kXeon);
  EXPECT_EQ(limit_features(kXeon, InstructionSet::kScalar), CpuFeatures{});
  EXPECT_EQ(limit_features(kXeon, InstructionSet::kSse4), CpuFeatures{});
  EXPECT_EQ(limit_features(kXeon, InstructionSet::kAvx2), (CpuFeatures{.avx2 = true}));
  EXPECT_EQ(limit_features(kXeon, InstructionSet::kAvxVnni),
            (CpuFeatures{.avx2 = true, .avx_vnni = true}));
  EXPECT_EQ(limit_features(kXeon, InstructionSet::kAvx512),
            (CpuFeatures{.avx2 = true, .avx_vnni = true, .avx512 = true}));
  CpuFeatures without = kXeon;
  without.avx512_fp16 = false;
  EXPECT_EQ(limit_features(kXeon, InstructionSet::kAvx512Vnni), without);
  CpuFeatures emulated = without;
  emulated.emulated_fp16 = true;
  EXPECT_EQ(limit_features(without, InstructionSet::kAvx512Fp16), emulated);
  EXPECT_EQ(limit_features({}, InstructionSet::kAvx512Fp16), CpuFeatures{})
      << "a limit gives nothing that the CPU lacks";
  EXPECT_EQ(to_string(CpuFeatures{.avx2 = true, .avx512 = true}), "avx2 avx512");
  constexpr CpuFeatures kNeoverse{.neon = true, .neon_dotprod = true, .i8mm = true};
  EXPECT_EQ(limit_features(kNeoverse, InstructionSet::kI8mm), kNeoverse);
  EXPECT_EQ(limit_features(kNeoverse, InstructionSet::kNeonDotprod),
            (CpuFeatures{.neon = true, .neon_dotprod = true}));
  EXPECT_EQ(limit_features(kNeoverse, InstructionSet::kNeon), (CpuFeatures{.neon = true}));
  EXPECT_EQ(limit_features(kNeoverse, InstructionSet::kScalar), CpuFeatures{});
  EXPECT_EQ(to_string(kNeoverse), "neon neon_dotprod i8mm");
  const CpuFeatures here = detect_cpu_features();
  EXPECT_EQ(limit_features(here, kHighestInstructionSet), here);
  EXPECT_EQ(to_string(CpuFeatures{}), "none");
}

TEST(TableTest, CodesAreTheActivationOfTheirCentreRoundedToTheConsumersGrid) {
  const Grid codes{0.1F, -20};
  const Grid to{0.05F, 6};
  std::array<std::uint8_t, 256> table{};
  for (int code = -128; code < 128; ++code) {
    const double x = (code + 20) * static_cast<double>(0.1F);
    const double y = x / (1 + std::exp(-x)) / static_cast<double>(0.05F) + 6;
    table[static_cast<std::uint8_t>(code)] =
        static_cast<std::uint8_t>(std::clamp(std::nearbyint(y), 0.0, 255.0));
  }
  EXPECT_EQ(activation_table(codes, Activation::kSilu, 0, to), table);
}

}  // namespace
}  // namespace fovea::engine::kernels
