// Every tactic of every convolution in the table against the readable one, on poisoned outputs.
//
// Whole buffers are compared, borders and gaps included: a byte that a kernel leaves out, or writes
// where it must not, differs from the oracle's.
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/kernels/convolution_problem.hpp"
#include "tests/kernels/instruction_sets.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::kernel_test {
namespace {

using engine::kernels::CpuFeatures;
using engine::kernels::create_convolution;
using engine::kernels::detect_cpu_features;
using engine::kernels::enumerate_tactics;

std::unique_ptr<ThreadPool> make_pool(int threads) {
  auto pool = ThreadPool::create({.threads = threads});
  EXPECT_TRUE(pool.has_value());
  return std::move(*pool);
}

// YOLOv8n's distinct convolutions with a few rows each (rows only repeat), and the odd ones.
std::vector<kernel_table::Convolution> shapes() {
  constexpr std::int64_t kRows = 2;
  std::vector<kernel_table::Convolution> list;
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool>> seen;
  for (kernel_table::Convolution shape : kernel_table::kYolov8n) {
    if (!seen.insert({shape.in_channels, shape.out_channels, shape.kernel, shape.stride,
                      shape.in_width == 20})
             .second) {
      continue;
    }
    shape.in_height = (kRows - 1) * shape.stride + shape.kernel - 2 * shape.pad;
    shape.in_width = std::min<std::int64_t>(shape.in_width, 42);
    list.push_back(shape);
  }
  for (kernel_table::Convolution shape : kernel_table::kDepthwise) {
    shape.in_height = kRows;
    list.push_back(shape);
  }
  list.insert(list.end(), std::begin(kernel_table::kOdd), std::end(kernel_table::kOdd));
  return list;
}

std::string describe(const kernel_table::Convolution& s) {
  return fmt::format("{}x{}x{} -> {} kernel {} stride {} pad {} dilation {} groups {}",
                     s.in_channels, s.in_height, s.in_width, s.out_channels, s.kernel, s.stride,
                     s.pad, s.dilation, s.groups);
}

// How far a result may be from the oracle's, which sums in double precision.
bool close_enough(const Variant& variant, Picture& expected, Picture& got, std::int64_t at,
                  bool winograd) {
  if (variant.to == DataType::kUint8) {
    // Integer sums are exact, and so are tables; exact activations differ in the last bits of exp.
    const int difference =
        std::abs(std::to_integer<int>(expected.data()[at]) - std::to_integer<int>(got.data()[at]));
    return difference <= (variant.compute == DataType::kUint8 &&
                                  (variant.table || variant.activation == Activation::kNone)
                              ? 0
                              : 1);
  }
  const float want = expected.value(at);
  // f16 (bf16) results may round to the neighbour, 2^-10 (2^-7) apart; Winograd's sums have larger
  // terms than their result.
  const float tolerance = variant.to == DataType::kFloat16    ? 1.1e-3F
                          : variant.to == DataType::kBfloat16 ? 8.1e-3F
                          : winograd                          ? 4e-5F
                                                              : 1e-5F;
  return std::abs(want - got.value(at)) <= tolerance * std::max(1.0F, std::abs(want));
}

// The places of `output`'s elements, and every other byte equal to the oracle's.
void compare(const Variant& variant, Picture& expected, Picture& got, const std::string& what) {
  std::vector<std::byte> rest = got.bytes();
  const std::ptrdiff_t first = got.data() - got.bytes().data();
  const std::int64_t element = engine::kernels::element_bytes(variant.to);
  const bool winograd = what.find("winograd") != std::string::npos;
  std::int64_t wrong = 0;
  got.for_each([&](std::int64_t at) {
    if (!close_enough(variant, expected, got, at, winograd) && wrong++ == 0) {
      ADD_FAILURE() << what << ": element " << at << " is " << got.value(at) << ", expected "
                    << expected.value(at);
    }
    std::memcpy(rest.data() + first + at * element, expected.bytes().data() + first + at * element,
                static_cast<std::size_t>(element));
  });
  EXPECT_EQ(wrong, 0) << what;
  EXPECT_TRUE(rest == expected.bytes()) << what << ": bytes outside the picture were written";
}

class ConvolutionTest : public testing::TestWithParam<Variant> {};

TEST_P(ConvolutionTest, EveryTacticMatchesTheOracle) {
  const Variant variant = GetParam();
  std::unique_ptr<ThreadPool> pools[] = {make_pool(1), make_pool(2), make_pool(3)};
  const std::vector<CpuFeatures> sets = instruction_sets();
  std::size_t tactics = 0;
  unsigned seed = 1;
  for (const auto& shape : shapes()) {
    ConvolutionProblem problem(shape, variant, seed++);
    auto oracle = create_convolution(problem.spec(), "scalar", {});
    ASSERT_TRUE(oracle.has_value()) << describe(shape) << ": " << oracle.error().message;
    problem.poison_outputs();
    problem.run(**oracle, *pools[1]);
    std::deque<Picture> expected = problem.outputs();
    std::map<std::string, CpuFeatures> kernels;
    for (const CpuFeatures& features : sets) {
      const auto list = enumerate_tactics(problem.spec(), features);
      ASSERT_EQ(list.names.back(), "scalar");
      for (const std::string& name : list.names) kernels.insert({name, features});
    }
    for (const auto& [name, features] : kernels) {
      if (name.starts_with("avx512_fp16")) continue;  // own test below: f16 sums are less exact
      auto kernel = create_convolution(problem.spec(), name, features);
      ASSERT_TRUE(kernel.has_value()) << name << ": " << kernel.error().message;
      EXPECT_EQ((*kernel)->implementation(), name);
      problem.poison_outputs();
      problem.run(**kernel, *pools[tactics++ % 3]);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        compare(variant, expected[i], problem.outputs()[i],
                fmt::format("{}, {}, destination {}", describe(shape), name, i));
      }
      if (HasFailure()) return;
    }
  }
  const CpuFeatures& all = sets.back();
  const bool wide = variant.compute == DataType::kUint8      ? all.avx512_vnni
                    : variant.compute == DataType::kBfloat16 ? false
                                                             : all.avx512;
  const bool narrow = variant.compute == DataType::kFloat16    ? false
                      : variant.compute == DataType::kBfloat16 ? all.amx_bf16
                                                               : all.avx2 || all.neon;
  if (wide) {
    EXPECT_GT(tactics, 10 * shapes().size());
  } else if (narrow) {
    EXPECT_GT(tactics, 2 * shapes().size());
  } else {
    GTEST_SKIP() << "this CPU has only: " << to_string(all);
  }
}

constexpr auto kF32 = DataType::kFloat32;
constexpr auto kF16 = DataType::kFloat16;
constexpr auto kBf16 = DataType::kBfloat16;
constexpr auto kU8 = DataType::kUint8;

const Variant kVariants[] = {
    {.compute = kF32, .to = kF32, .source = kF32},
    {.compute = kF32, .to = kF32, .layout = Layout::kScatter, .source = kF32, .source_gap = true},
    {.compute = kF32,
     .to = kF32,
     .layout = Layout::kResidual,
     .activation = Activation::kLeakyRelu,
     .source = kF32},
    {.compute = kF32,
     .to = kF32,
     .activation = Activation::kNone,
     .source = kF32,
     .source_gap = true},
    {.compute = kF32, .to = kF32, .source = kF32, .physically_padded = false},
    {.compute = kF32,
     .to = kF32,
     .activation = Activation::kHardSwish,
     .source = kU8,
     .physically_padded = false},
    {.compute = kF32,
     .to = kU8,
     .layout = Layout::kScatter,
     .activation = Activation::kRelu,
     .source = kF16},
    {.compute = kF16, .to = kF16, .layout = Layout::kScatter, .source = kF16},
    {.compute = kF16,
     .to = kF32,
     .activation = Activation::kSigmoid,
     .source = kU8,
     .physically_padded = false},
    {.compute = kBf16, .to = kBf16, .source = kBf16},
    {.compute = kBf16, .to = kBf16, .layout = Layout::kScatter, .source = kBf16},
    {.compute = kBf16,
     .to = kBf16,
     .layout = Layout::kResidual,
     .source = kBf16,
     .source_gap = true},
    {.compute = kBf16, .to = kF32, .activation = Activation::kNone, .source = kBf16},
    {.compute = kBf16, .to = kF32, .activation = Activation::kLeakyRelu, .source = kBf16},
    {.compute = kBf16, .to = kBf16, .source = kBf16, .physically_padded = false},
    {.compute = kBf16, .to = kBf16, .source = kU8, .physically_padded = false},
    {.compute = kU8, .to = kU8, .table = true, .source = kU8},
    {.compute = kU8,
     .to = kU8,
     .layout = Layout::kScatter,
     .table = true,
     .source = kU8,
     .source_gap = true},
    {.compute = kU8,
     .to = kU8,
     .layout = Layout::kResidual,
     .table = true,
     .activation = Activation::kNone,
     .source = kU8,
     .physically_padded = false},
    {.compute = kU8, .to = kU8, .layout = Layout::kScatter, .source = kU8},
    {.compute = kU8,
     .to = kU8,
     .layout = Layout::kResidual,
     .activation = Activation::kNone,
     .source = kU8},
    {.compute = kU8, .to = kF32, .activation = Activation::kNone, .source = kU8},
    {.compute = kU8, .to = kF16, .layout = Layout::kResidual, .source = kU8, .source_gap = true},
};

INSTANTIATE_TEST_SUITE_P(Variants, ConvolutionTest, testing::ValuesIn(kVariants),
                         [](const auto& variant) { return variant.param.name(); });

TEST(ConvolutionFp16Test, NativeHalfSumsStayWithinTheirRounding) {
  const CpuFeatures features = detect_cpu_features();
  if (!features.avx512_fp16)
    GTEST_SKIP() << "needs avx512_fp16; this CPU has only: " << to_string(features);
  const Variant variant{
      .compute = kF16, .to = kF32, .activation = Activation::kNone, .source = kF16};
  auto pool = make_pool(2);
  unsigned seed = 1;
  for (const auto& shape : shapes()) {
    ConvolutionProblem problem(shape, variant, seed++);
    auto oracle = create_convolution(problem.spec(), "scalar", {});
    ASSERT_TRUE(oracle.has_value());
    problem.run(**oracle, *pool);
    std::deque<Picture> expected = problem.outputs();
    for (const std::string& name : enumerate_tactics(problem.spec(), features).names) {
      if (!name.starts_with("avx512_fp16")) continue;
      auto kernel = create_convolution(problem.spec(), name, features);
      ASSERT_TRUE(kernel.has_value());
      problem.poison_outputs();
      problem.run(**kernel, *pool);
      // N(0, 1) results; every addition rounds to 2^-11 of the sum so far.
      const double terms = static_cast<double>(shape.in_channels * shape.kernel * shape.kernel);
      const double tolerance = 4 * 0x1p-11 * std::sqrt(terms);
      problem.outputs()[0].for_each([&](std::int64_t at) {
        ASSERT_NEAR(problem.outputs()[0].value(at), expected[0].value(at), tolerance)
            << describe(shape) << name;
      });
    }
  }
}

// Nothing on the way may saturate: neither products, nor sums of them, nor transformed pixels.
TEST(ConvolutionInt8Test, TheLargestPixelsAndWeightsStayExact) {
  const Variant variant{.compute = kU8,
                        .to = kF32,
                        .activation = Activation::kNone,
                        .source = kU8,
                        .physically_padded = false};
  std::mt19937 random(1);
  const auto extreme = [](bool negative) { return negative ? -128 : 127; };
  // By input channel: too large to be added up in 16 bits everywhere, nowhere, in one step of eight,
  // and just so.
  const std::function<int(std::size_t)> kinds[] = {
      [&](std::size_t) { return extreme(false); },
      [&](std::size_t) { return extreme(true); },
      [&](std::size_t channel) { return extreme(channel % 2 == 0); },
      [&](std::size_t channel) { return extreme(channel / 2 % 2 == 0); },
      [&](std::size_t) { return extreme(random() % 2 == 0); },
      [&](std::size_t channel) { return channel % 32 < 2 ? extreme(false) : 1; },
      [&](std::size_t channel) { return channel % 32 < 2 ? extreme(true) : -1; },
      [&](std::size_t channel) { return channel % 2 == 0 ? 64 : 65; },
      [&](std::size_t channel) { return channel % 2 == 0 ? -64 : -65; },
  };
  auto pool = make_pool(1);
  for (const kernel_table::Convolution& shape :
       {kernel_table::Convolution{32, 9, 8, 40, 3, 1, 1, false},
        kernel_table::Convolution{30, 4, 7, 16, 1, 1, 0, false},
        kernel_table::Convolution{114, 4, 4, 16, 3, 1, 1, false},
        kernel_table::Convolution{3, 9, 9, 16, 3, 2, 1, false},
        kernel_table::Convolution{16, 9, 9, 16, 3, 1, 1, false, 1, 16}}) {
    ConvolutionProblem problem(shape, variant, 1);
    ConvolutionSpec spec = problem.spec();
    std::vector<std::int8_t> weights(spec.s8_weights.size());
    spec.s8_weights = weights;
    const auto area = static_cast<std::size_t>(shape.kernel * shape.kernel);
    for (const auto& kind : kinds) {
      for (std::size_t i = 0; i < weights.size(); ++i) {
        weights[i] = static_cast<std::int8_t>(kind(i / area));
      }
      // ARM's kernels take 128 off every pixel: there the smallest is the largest, too.
      for (const int pixel : {255, 0}) {
        std::fill(problem.source().bytes().begin(), problem.source().bytes().end(),
                  static_cast<std::byte>(pixel));
        auto oracle = create_convolution(spec, "scalar", {});
        ASSERT_TRUE(oracle.has_value());
        problem.poison_outputs();
        problem.run(**oracle, *pool);
        const std::vector<std::byte> expected = problem.outputs()[0].bytes();
        for (const CpuFeatures& features : instruction_sets()) {
          for (const std::string& name : enumerate_tactics(spec, features).names) {
            auto kernel = create_convolution(spec, name, features);
            ASSERT_TRUE(kernel.has_value()) << name;
            problem.poison_outputs();
            problem.run(**kernel, *pool);
            EXPECT_TRUE(problem.outputs()[0].bytes() == expected)
                << describe(shape) << ", " << name << ", weights of kind " << &kind - kinds
                << ", pixels of " << pixel;
          }
        }
      }
    }
  }
}

TEST(ConvolutionInt8Test, SumsThatIntegerWinogradCannotHoldAreNotOffered) {
  const CpuFeatures features = limit_features(detect_cpu_features(), InstructionSet::kAvx2);
  if (!features.avx2) GTEST_SKIP() << "needs AVX2";
  const auto offered = [&](std::int8_t weight, bool one_channel) {
    ConvolutionProblem problem({115, 4, 4, 16, 3, 1, 1, false},
                               {.compute = kU8, .to = kU8, .source = kU8}, 1);
    ConvolutionSpec spec = problem.spec();
    std::vector<std::int8_t> weights(spec.s8_weights.size(), one_channel ? 1 : weight);
    std::fill(weights.end() - std::int64_t{115} * 9, weights.end(), weight);  // the last channel's
    spec.s8_weights = weights;
    const auto names = enumerate_tactics(spec, features).names;
    const bool found = std::any_of(names.begin(), names.end(), [](const std::string& name) {
      return name.starts_with("avx2/winograd16/");
    });
    EXPECT_EQ(create_convolution(spec, "avx2/winograd16/24", features).has_value(), found);
    return found;
  };
  EXPECT_TRUE(offered(127, false));  // 255 * 127 * 9 * 115 < 2^25
  EXPECT_FALSE(offered(-128, false));
  EXPECT_FALSE(offered(-128, true));
}

// The oracle itself, against the definition of a quantised convolution in real numbers.
TEST(ConvolutionOracleTest, QuantisedResultsAreWithinHalfAStepOfTheRealOnes) {
  const kernel_table::Convolution shape{5, 7, 6, 4, 3, 2, 1, true};
  const Variant variant{.compute = kU8, .to = kU8, .layout = Layout::kDense, .source = kU8};
  ConvolutionProblem problem(shape, variant, 7);
  auto kernel = create_convolution(problem.spec(), "scalar", {});
  ASSERT_TRUE(kernel.has_value());
  auto pool = make_pool(1);
  problem.run(**kernel, *pool);
  const ConvolutionSpec& spec = problem.spec();
  Picture& output = problem.outputs()[0];
  for (std::int64_t y = 0; y < spec.out_height; ++y) {
    for (std::int64_t x = 0; x < spec.out_width; ++x) {
      for (std::int64_t o = 0; o < spec.out_channels; ++o) {
        double sum = static_cast<double>(spec.bias[static_cast<std::size_t>(o)]);
        for (std::int64_t c = 0; c < 5; ++c) {
          for (std::int64_t k = 0; k < 9; ++k) {
            const std::int64_t row = y * 2 - 1 + k / 3;
            const std::int64_t column = x * 2 - 1 + k % 3;
            if (row < 0 || row >= 7 || column < 0 || column >= 6) continue;  // zero
            const double pixel = static_cast<double>(problem.source().value(
                row * spec.source.row_stride + column * spec.source.pixel_stride + c));
            const auto weight = spec.s8_weights[static_cast<std::size_t>((o * 5 + c) * 9 + k)];
            sum += pixel * weight *
                   static_cast<double>(spec.weight_scales[static_cast<std::size_t>(o)]);
          }
        }
        const Surface& surface = output.surface();
        const double lowest =
            (0 - surface.grid.zero_point) * static_cast<double>(surface.grid.scale);
        const double highest =
            (255 - surface.grid.zero_point) * static_cast<double>(surface.grid.scale);
        const double real = std::clamp(sum / (1 + std::exp(-sum)), lowest, highest);
        EXPECT_NEAR(static_cast<double>(
                        output.value(y * surface.row_stride + x * surface.pixel_stride + o)),
                    real, 0.5001 * static_cast<double>(surface.grid.scale));
      }
    }
  }
}

// Engines of one network in several precisions share its constants.
TEST(ConvolutionTacticTest, KernelsOfOtherArithmeticDoNotShareWeights) {
  const kernel_table::Convolution shape{32, 9, 8, 40, 3, 1, 1, true};
  const engine::PackedForms forms;
  auto pool = make_pool(1);
  std::vector<std::unique_ptr<const engine::kernels::Kernel>> alive;
  for (const DataType compute : {kF32, kF16}) {
    ConvolutionProblem problem(shape, {.compute = compute, .to = kF32, .source = compute}, 3);
    engine::kernels::ConvolutionSpec sharing = problem.spec();
    sharing.forms = &forms;
    for (const std::string& name : enumerate_tactics(sharing).names) {
      auto kernel = create_convolution(problem.spec(), name);
      ASSERT_TRUE(kernel.has_value());
      problem.run(**kernel, *pool);
      const std::vector<std::byte> expected = problem.outputs()[0].bytes();
      kernel = create_convolution(sharing, name);
      ASSERT_TRUE(kernel.has_value());
      problem.run(**kernel, *pool);
      EXPECT_TRUE(problem.outputs()[0].bytes() == expected) << name;
      alive.push_back(std::move(*kernel));
    }
  }
}

// Those of plain AVX2 are packed otherwise.
TEST(ConvolutionTacticTest, Int8KernelsOfAllInstructionSetsShareWeights) {
  ConvolutionProblem problem({32, 9, 8, 40, 3, 1, 1, true},
                             {.compute = kU8, .to = kU8, .table = true, .source = kU8}, 3);
  const engine::PackedForms forms;
  engine::kernels::ConvolutionSpec sharing = problem.spec();
  sharing.forms = &forms;
  auto pool = make_pool(1);
  auto oracle = create_convolution(sharing, "scalar", {});
  ASSERT_TRUE(oracle.has_value());
  problem.run(**oracle, *pool);
  const std::vector<std::byte> expected = problem.outputs()[0].bytes();
  std::vector<std::unique_ptr<const engine::kernels::Kernel>> alive;
  for (int turn = 0; turn < 2; ++turn) {  // also when the form exists
    for (const CpuFeatures& features : instruction_sets()) {
      for (const std::string& name : enumerate_tactics(sharing, features).names) {
        auto kernel = create_convolution(sharing, name, features);
        ASSERT_TRUE(kernel.has_value());
        problem.poison_outputs();
        problem.run(**kernel, *pool);
        EXPECT_TRUE(problem.outputs()[0].bytes() == expected) << name;
        alive.push_back(std::move(*kernel));
      }
    }
  }
}

#if defined(__aarch64__)
TEST(ConvolutionTacticTest, RefusalsNameTheReason) {
  const Variant variant{.compute = kU8, .to = kU8, .table = true, .source = kU8};
  ConvolutionProblem plain({16, 4, 6, 16, 3, 1, 1, true}, variant, 1);
  const auto none = enumerate_tactics(plain.spec(), {});
  ASSERT_EQ(none.names, std::vector<std::string>{"scalar"});
  ASSERT_EQ(none.declined.size(), 3U);
  EXPECT_EQ(none.declined[0], "i8mm: needs i8mm, the CPU or FOVEA_ISA has: none");
  EXPECT_EQ(none.declined[1], "neon_dotprod: needs neon_dotprod, the CPU or FOVEA_ISA has: none");

  constexpr CpuFeatures kA76{.neon = true, .neon_dotprod = true};
  ConvolutionProblem grouped({16, 4, 6, 16, 3, 1, 1, true, 1, 2}, variant, 1);
  const auto missing = create_convolution(grouped.spec(), "neon_dotprod/1x6/weights", kA76);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(missing.error().message.find("neon_dotprod: groups=2"), std::string::npos);

  EXPECT_TRUE(enumerate_tactics(plain.spec(), kA76).names[0].starts_with("neon_dotprod/1x"));
  const auto plain_neon = enumerate_tactics(plain.spec(), {.neon = true}).names;
  EXPECT_TRUE(plain_neon[0].starts_with("neon/1x")) << plain_neon[0];
}
#elif defined(__x86_64__)
TEST(ConvolutionTacticTest, RefusalsNameTheReason) {
  const Variant variant{.compute = kU8, .to = kU8, .table = true, .source = kU8};
  ConvolutionProblem plain({16, 4, 6, 16, 3, 1, 1, true}, variant, 1);
  const auto none = enumerate_tactics(plain.spec(), {});
  ASSERT_EQ(none.names, std::vector<std::string>{"scalar"});
  ASSERT_GE(none.declined.size(), 2U);
  EXPECT_TRUE(none.declined[0].starts_with("amx: needs amx_int8, the CPU or FOVEA_ISA has: none"));
  EXPECT_EQ(none.declined[1], "avx512_vnni: needs avx512_vnni, the CPU or FOVEA_ISA has: none");

  constexpr CpuFeatures kAll{.avx2 = true,
                             .avx512 = true,
                             .avx512_vnni = true,
                             .avx512_vbmi = true,
                             .amx_int8 = true};
  ConvolutionProblem grouped({16, 4, 6, 16, 3, 1, 1, true, 1, 2}, variant, 1);
  const auto two_groups = enumerate_tactics(grouped.spec(), kAll);
  ASSERT_EQ(two_groups.names, std::vector<std::string>{"scalar"});
  EXPECT_EQ(two_groups.declined[0], "amx: groups=2");
  EXPECT_EQ(two_groups.declined[1], "avx512_vnni: groups=2");
  const auto missing = create_convolution(grouped.spec(), "avx512_vnni/1x20/weights", kAll);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(missing.error().message.find("groups=2"), std::string::npos);

  const auto tactics = enumerate_tactics(plain.spec(), kAll);
  EXPECT_TRUE(tactics.declined.empty());
  EXPECT_EQ(tactics.names[0], "amx/picture/weights");
  EXPECT_TRUE(tactics.names[1].starts_with("avx512_vnni/1x")) << tactics.names[1];
  const auto amx_declines = [&](const kernel_table::Convolution& shape, bool padded) {
    ConvolutionProblem problem(
        shape,
        {.compute = kU8, .to = kU8, .table = true, .source = kU8, .physically_padded = padded}, 1);
    const auto declined = enumerate_tactics(problem.spec(), kAll).declined;
    return declined.empty() ? std::string() : declined[0];
  };
  EXPECT_EQ(amx_declines({32, 20, 20, 16, 3, 1, 1, true}, true), "");
  EXPECT_EQ(amx_declines({32, 20, 20, 16, 3, 1, 1, true}, false), "");
  EXPECT_EQ(amx_declines({32, 12, 12, 16, 3, 2, 1, true}, true),
            "amx: rows of 6 pixels leave tiles of 16 empty");
  EXPECT_EQ(amx_declines({3, 40, 40, 16, 3, 2, 1, true}, true), "");
  EXPECT_EQ(amx_declines({68, 20, 20, 16, 1, 1, 0, true}, true),
            "amx: runs of 68 bytes have no divisor of 12 to 64 bytes in steps of 4");
}
#endif

TEST(ConvolutionTacticTest, ImpossibleSpecsAreRefusedWithTheValue) {
  const Variant variant{.compute = kU8, .to = kU8, .table = true, .source = kU8};
  ConvolutionProblem problem({16, 4, 6, 16, 3, 1, 1, true}, variant, 1);
  const auto message = [&](auto change) {
    ConvolutionSpec spec = problem.spec();
    change(spec);
    auto kernel = create_convolution(spec);
    EXPECT_FALSE(kernel.has_value());
    EXPECT_TRUE(enumerate_tactics(spec).names.empty());
    return kernel.has_value() ? std::string() : kernel.error().message;
  };
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.stride_width = 0; }),
            "stride_width is 0; it must be 1..1048576");
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.kernel_width = 1025; }),
            "kernel_width is 1025; it must be 1..1024");
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.kernel_height = s.kernel_width = 100; }),
            "160000 taps could overflow a 32-bit sum; u8 computation takes up to 32896");
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.groups = 3; }),
            "groups is 3; it must divide 16 input and 16 output channels");
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.bias = s.bias.first(15); }),
            "bias has 15 elements; it must have 16");
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.source.pixel_stride = 8; }),
            "source.pixel_stride is 8; it must be at least 16 channels");
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.destinations[0].first_channel = 1; }),
            "destinations[0] takes channels 1..17; there are 16");
  EXPECT_EQ(
      message([](ConvolutionSpec& s) { s.destinations[0].surface.type = DataType::kFloat32; }),
      "destinations[0] is not u8, but a table epilogue writes nothing else");
  EXPECT_EQ(message([](ConvolutionSpec& s) { s.source.grid.scale = 0; }),
            "source.grid is (scale 0, zero point 13); the scale must be positive and the zero "
            "point 0..255");
}

TEST(ConvolutionTacticTest, ATableWithoutVbmiGivesTheSameBytes) {
  CpuFeatures features = detect_cpu_features();
  if (!features.avx512_vnni) GTEST_SKIP() << "needs avx512_vnni";
  features.avx512_vbmi = false;
  const Variant variant{
      .compute = kU8, .to = kU8, .layout = Layout::kScatter, .table = true, .source = kU8};
  ConvolutionProblem problem({32, 4, 6, 48, 3, 1, 1, true}, variant, 1);
  auto pool = make_pool(2);
  auto oracle = create_convolution(problem.spec(), "scalar");
  auto kernel = create_convolution(problem.spec(), "", features);
  ASSERT_TRUE(oracle.has_value() && kernel.has_value());
  problem.poison_outputs();
  problem.run(**oracle, *pool);
  const std::deque<Picture> expected = problem.outputs();
  problem.poison_outputs();
  problem.run(**kernel, *pool);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(problem.outputs()[i].bytes() == std::deque<Picture>(expected)[i].bytes());
  }
}

TEST(ConvolutionTacticTest, RunningAllocatesNothing) {
  for (const Variant& variant : kVariants) {
    ConvolutionProblem problem({48, 6, 20, 32, 1, 1, 0, true}, variant, 1);
    auto kernel = create_convolution(problem.spec());
    ASSERT_TRUE(kernel.has_value());
    auto pool = make_pool(1);  // the guard counts one thread
    problem.run(**kernel, *pool);
    const test::AllocationGuard guard;
    problem.run(**kernel, *pool);
    EXPECT_EQ(guard.count(), 0U) << variant.name();
  }
}

}  // namespace
}  // namespace fovea::kernel_test
