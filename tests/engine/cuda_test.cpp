// Provider "cuda". What needs no GPU is checked everywhere: which kernels a network becomes, what
// waits for what, what is said where there is none. The rest skips without one.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cuda/compiler.hpp"
#include "nodes/detector/engine/cuda/cuda_engine.hpp"
#include "nodes/detector/engine/cuda/gpu.hpp"
#include "nodes/detector/engine/cuda/schedule.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"
#include "tests/engine/yolo_zoo.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr cuda::GpuLimits kLargeGpu = {132, 227 * 1024};  // sm_90
constexpr cuda::GpuLimits kSmallGpu = {8, 99 * 1024};     // sm_86, 87, 89, 120

void in_half_precision(NetworkDefinition& network) {
  network.quantization.values.assign(network.values.size(), {});
  network.quantization.layers.assign(network.layers.size(), {Precision::kFp16, {}, 0, 0});
}

Plan yolo_plan(YoloModel model, const YoloOptions& options, Precision precision,
               std::int32_t batch = 1) {
  // Tests run beside each other, a process each.
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) /
                                     fmt::format("cuda_{}_{}.onnx", to_string(model), ::getpid());
  make_yolo(model, options).save(file);
  BuilderConfig config;
  config.provider = "reference";
  config.max_batch = batch;
  auto plan = build_plan(file, config);
  std::filesystem::remove(file);
  if (!plan) {
    ADD_FAILURE() << plan.error().message;
    return {};
  }
  if (precision == Precision::kFp16) {
    plan->precision = precision;
    in_half_precision(plan->network);
  }
  return std::move(*plan);
}

std::size_t count(const cuda::Program& program, std::string_view kernel) {
  return static_cast<std::size_t>(std::count_if(
      program.launches.begin(), program.launches.end(), [&](const cuda::Launch& launch) {
        return launch.choices.back().kernel.starts_with(kernel);
      }));
}

class CudaCompiler : public testing::TestWithParam<YoloModel> {};

TEST_P(CudaCompiler, TensorCoresTakeEveryConvolutionOfAGpuOfEitherSize) {
  for (const cuda::GpuLimits& limits : {kLargeGpu, kSmallGpu}) {
    Plan plan = yolo_plan(GetParam(), {.height = 320, .width = 320}, Precision::kFp16);
    const auto program =
        cuda::compile(plan.network, {.tactics = {}, .images = 8, .limits = limits});
    ASSERT_TRUE(program) << program.error().message;
    EXPECT_THAT(program->declined, IsEmpty());
    EXPECT_EQ(count(*program, "stem_"), 1U);
    EXPECT_EQ(count(*program, "plain_") + count(*program, "tiles_"), 0U);
    EXPECT_GT(count(*program, "convolution_"), 40U);
    for (const cuda::Launch& launch : program->launches) {
      for (const cuda::Choice& choice : launch.choices) {
        EXPECT_LE(choice.shared_bytes, static_cast<std::uint32_t>(limits.shared_bytes))
            << choice.kernel;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CudaCompiler,
                         testing::Values(YoloModel::kV8n, YoloModel::kV8s, YoloModel::kV11n,
                                         YoloModel::kV5n),
                         [](const auto& model) { return to_string(model.param); });

TEST(CudaCompiler, ConcatsAndSplitsMoveNothing) {
  Plan plan = yolo_plan(YoloModel::kV8n, {.height = 320, .width = 320}, Precision::kFp16);
  const auto program =
      cuda::compile(plan.network, {.tactics = {}, .images = 1, .limits = kLargeGpu});
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(count(*program, "map_"), 0U);
}

TEST(CudaCompiler, TacticsChooseTheKernelOfTheirBatch) {
  Plan plan = yolo_plan(YoloModel::kV8n, {.height = 320, .width = 320}, Precision::kFp16);
  cuda::CompileOptions options{.tactics = {}, .images = 8, .limits = kLargeGpu};
  const auto first = cuda::compile(plan.network, options);
  ASSERT_TRUE(first) << first.error().message;
  const auto convolution =
      std::find_if(first->launches.begin(), first->launches.end(), [](const cuda::Launch& launch) {
        return launch.choices[0].kernel.starts_with("convolution_1_1_1x") &&
               launch.choices.size() == 2;
      });
  ASSERT_NE(convolution, first->launches.end());
  const std::string one = "convolution_1_1_1x16_128_1x2_1x1x4_3";
  const std::string eight = "convolution_1_1_1x64_128_1x4_4x1x1_3";
  options.tactics = {{convolution->layer, "1=" + one + " 8=" + eight}};
  const auto second = cuda::compile(plan.network, options);
  ASSERT_TRUE(second) << second.error().message;
  const cuda::Launch& chosen =
      second->launches[static_cast<std::size_t>(convolution - first->launches.begin())];
  EXPECT_EQ(chosen.choices[chosen.choice(1)].kernel, one);
  EXPECT_EQ(chosen.choices[chosen.choice(2)].kernel, eight);
  EXPECT_EQ(chosen.choices[chosen.choice(8)].kernel, eight);
}

TEST(CudaCompiler, EverythingThatNoKernelTakesIsToldAtOnce) {
  SmallNetwork small(8, 8);
  const ValueId best = small.add(OpType::kArgMax, {small.x()}, {{"axis", std::int64_t{1}}});
  small.network().value(best).dtype = DataType::kInt64;
  const ValueId other = small.add(OpType::kArgMax, {small.x()}, {{"axis", std::int64_t{2}}});
  small.network().value(other).dtype = DataType::kInt64;
  small.network().outputs = {best, other};
  const auto program =
      cuda::compile(small.network(), {.tactics = {}, .images = 1, .limits = kLargeGpu});
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(program.error().message, HasSubstr(small.network().layers[1].name));
  EXPECT_THAT(program.error().message, HasSubstr(small.network().layers[2].name));
}

cuda::Launch launch(std::vector<cuda::Access> reads, std::vector<cuda::Access> writes) {
  cuda::Launch result;
  result.reads = std::move(reads);
  result.writes = std::move(writes);
  return result;
}

using Dependencies = std::vector<std::vector<std::uint32_t>>;

TEST(CudaSchedule, PartsOfAConcatDoNotWaitForEachOtherAndItsReaderWaitsForAll) {
  cuda::Program program;
  program.buffers = {1024, 1024};
  program.launches = {launch({}, {{0, 0, 32}}), launch({}, {{0, 32, 64}}),
                      launch({{0, 0, 64}}, {{1, 0, 64}})};
  EXPECT_EQ(make_schedule(program, 1).dependencies, (Dependencies{{}, {}, {1, 0}}));
}

TEST(CudaSchedule, WhatAnotherWaitsForAlreadyIsNotWaitedForAgain) {
  cuda::Program program;
  program.buffers = {1024, 1024, 1024};
  program.launches = {launch({}, {{0, 0, 64}}), launch({{0, 0, 64}}, {{1, 0, 64}}),
                      launch({{0, 0, 64}, {1, 0, 64}}, {{2, 0, 64}})};
  EXPECT_EQ(make_schedule(program, 1).dependencies, (Dependencies{{}, {0}, {1}}));
}

TEST(CudaSchedule, ABufferInTheMemoryOfAnotherWaitsForItsReaders) {
  cuda::Program program;
  program.buffers = {1024, 1024, 1024};
  program.launches = {launch({}, {{0, 0, 64}}), launch({{0, 0, 64}}, {{1, 0, 64}}),
                      launch({{1, 0, 64}}, {{2, 0, 64}}), launch({{2, 0, 64}}, {})};
  const cuda::Schedule schedule = make_schedule(program, 4);
  EXPECT_EQ(schedule.offsets[2], schedule.offsets[0]);
  EXPECT_EQ(schedule.arena_bytes, 2U * 4 * 1024);
  EXPECT_EQ(schedule.dependencies, (Dependencies{{}, {0}, {1}, {2}}));
}

TEST(CudaProvider, SaysWhatIsMissingWhereThereIsNoGpu) {
  const auto available = cuda_available();
  if (available) GTEST_SKIP() << "there is one: " << cuda_identity();
  EXPECT_EQ(available.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(available.error().message, HasSubstr("NVIDIA driver"));
  EXPECT_EQ(cuda_identity(), "no CUDA GPU");
  Plan plan = yolo_plan(YoloModel::kV8n, {.height = 64, .width = 64}, Precision::kFp32);
  plan.provider = "cuda";
  const auto engine = load_engine(plan);
  ASSERT_FALSE(engine);
  EXPECT_THAT(engine.error().message, HasSubstr("NVIDIA driver"));
}

// With a GPU.

class CudaEngine : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto available = cuda_available(); !available) {
      GTEST_SKIP() << "needs a GPU: " << available.error().message;
    }
  }
};

std::vector<std::vector<std::uint8_t>> pictures(const EngineInfo& info, std::size_t items) {
  std::vector<std::vector<std::uint8_t>> result(items, std::vector<std::uint8_t>(info.input.bytes));
  std::uint32_t state = 7;
  for (auto& picture : result) {
    for (std::uint8_t& value : picture) {
      state = state * 1664525U + 1013904223U;
      value = static_cast<std::uint8_t>(state >> 24);
    }
  }
  return result;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return ab / std::sqrt(aa * bb);
}

// Batches of three, twice in one context, against the reference.
void expect_agreement(Plan plan, double least) {
  plan.provider = "reference";
  plan.max_batch = 3;
  const auto reference = load_engine(plan);
  ASSERT_TRUE(reference) << reference.error().message;
  plan.provider = "cuda";
  const auto engine = load_engine(plan);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto inputs = pictures((*engine)->info(), 3);
  const auto want = run_engine(**reference, inputs);
  const auto got = run_engine(**engine, inputs, 2);
  for (std::size_t item = 0; item < inputs.size(); ++item) {
    for (std::size_t k = 0; k < want[item].size(); ++k) {
      EXPECT_GE(cosine(got[item][k], want[item][k]), least)
          << (*engine)->info().outputs[k].name << " of item " << item;
    }
  }
}

Plan plan_of(SmallNetwork& small, ValueId output, Precision precision) {
  Plan plan;
  plan.network = std::move(small.network());
  plan.network.outputs = {output};
  plan.precision = precision;
  if (precision == Precision::kFp16) in_half_precision(plan.network);
  return plan;
}

TEST_F(CudaEngine, ConvolutionsOfEveryKindAgreeWithTheReference) {
  struct Shape {
    std::int64_t in, out, kernel, stride, groups;
    Activation activation;
    bool residual;
  };
  const Shape shapes[] = {{16, 16, 3, 1, 1, Activation::kSilu, true},
                          {16, 24, 3, 2, 1, Activation::kRelu, false},
                          {32, 80, 3, 1, 1, Activation::kSilu, false},
                          {24, 365, 1, 1, 1, Activation::kNone, false},
                          {64, 64, 3, 1, 1, Activation::kSilu, true},
                          {128, 144, 1, 1, 1, Activation::kSigmoid, false},
                          {80, 80, 3, 1, 1, Activation::kSilu, false},
                          {64, 64, 3, 1, 64, Activation::kSilu, false},
                          {20, 20, 5, 1, 20, Activation::kNone, false},
                          {32, 48, 3, 1, 4, Activation::kLeakyRelu, false},
                          {16, 33, 5, 2, 1, Activation::kHardSwish, false},
                          {13, 7, 3, 1, 1, Activation::kSilu, true},
                          {256, 128, 3, 2, 1, Activation::kSilu, false}};
  for (const Precision precision : {Precision::kFp32, Precision::kFp16}) {
    for (const Shape& shape : shapes) {
      SCOPED_TRACE(testing::Message() << to_string(precision) << " " << shape.in << "->"
                                      << shape.out << " " << shape.kernel << "x" << shape.kernel
                                      << "/" << shape.stride << " groups " << shape.groups);
      SmallNetwork small(44, 52);
      const ValueId first = small.conv(
          small.x(), {.in = 3, .out = shape.in, .kernel = 3, .stride = 2, .scale = 0.01F});
      const ValueId residual =
          shape.residual ? small.conv(first, {.in = shape.in, .out = shape.out}) : kNoValue;
      const ValueId middle = small.conv(first, {.in = shape.in,
                                                .out = shape.out,
                                                .kernel = shape.kernel,
                                                .stride = shape.stride,
                                                .activation = shape.activation,
                                                .residual = residual,
                                                .groups = shape.groups});
      const ValueId last =
          small.conv(middle, {.in = shape.out, .out = 8, .activation = Activation::kNone});
      expect_agreement(plan_of(small, last, precision),
                       precision == Precision::kFp32 ? 0.999999 : 0.9999);
    }
  }
}

TEST_F(CudaEngine, DetectorsAgreeWithTheReference) {
  for (const YoloModel model : {YoloModel::kV8n, YoloModel::kV11n, YoloModel::kV5n}) {
    for (const Precision precision : {Precision::kFp32, Precision::kFp16}) {
      SCOPED_TRACE(testing::Message() << to_string(model) << " " << to_string(precision));
      expect_agreement(yolo_plan(model, {.height = 160, .width = 224}, precision, 3),
                       precision == Precision::kFp32 ? 0.999999 : 0.999);
    }
  }
}

TEST_F(CudaEngine, EveryRunGivesTheSameBytesAlsoBesideAnotherContext) {
  Plan plan = yolo_plan(YoloModel::kV8n, {.height = 160, .width = 160}, Precision::kFp16, 2);
  plan.provider = "cuda";
  const auto engine = load_engine(plan);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto inputs = pictures((*engine)->info(), 2);
  const auto want = run_engine(**engine, inputs);
  const auto repeat = [&] {
    const auto got = run_engine(**engine, inputs, 500);
    EXPECT_EQ(got, want);
  };
  std::thread other(repeat);
  repeat();
  other.join();
}

TEST_F(CudaEngine, TuningKeepsTheNumbersAndRejectsNothing) {
  Plan plan = yolo_plan(YoloModel::kV8n, {.height = 160, .width = 160}, Precision::kFp16, 3);
  plan.provider = "cuda";
  EngineInfo info = load_engine(plan).value()->info();
  TuningReport report;
  const auto tactics = tune_cuda_engine(
      plan.network, info, {.level = 3}, [](auto, auto) {}, report);
  ASSERT_TRUE(tactics) << tactics.error().message;
  EXPECT_THAT(report.rejected, IsEmpty());
  EXPECT_GT(report.layers, 40U);
  EXPECT_LE(report.tuned_ms, report.untuned_ms * 1.1);
  plan.tactics = *tactics;
  expect_agreement(std::move(plan), 0.999);
}

TEST_F(CudaEngine, MoreMemoryThanThereIsIsRefusedWithWhatIsFree) {
  const auto gpu = cuda::Gpu::find();
  ASSERT_TRUE(gpu);
  const auto memory = cuda::DeviceMemory::make(**gpu, std::size_t{1} << 50);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, ErrorCode::kExhausted);
  EXPECT_THAT(memory.error().message, HasSubstr("MB are free"));
}

}  // namespace
}  // namespace fovea::engine::test
