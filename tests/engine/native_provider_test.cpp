// The program over our own kernels against the reference: every way in which a value can be
// placed, written by a convolution of elsewhere, converted or shared.
#include <cmath>

#include <gtest/gtest.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/native/provider.hpp"
#include "nodes/detector/engine/cpu/native/tensor_steps.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::engine {
namespace {

using test::Outputs;
using test::run_engine;
using test::SmallNetwork;

constexpr std::int64_t kHeight = 48;
constexpr std::int64_t kWidth = 40;

std::vector<std::vector<std::uint8_t>> pictures(std::size_t count) {
  std::vector<std::vector<std::uint8_t>> result;
  for (std::size_t i = 0; i < count; ++i) {
    result.push_back(SmallNetwork::picture(kHeight, kWidth, static_cast<unsigned>(i)));
  }
  return result;
}

EngineInfo info_of(const NetworkDefinition& network, std::int32_t threads = 1,
                   std::int32_t max_batch = 1) {
  auto info = describe_engine(network, "cpu", {.max_batch = max_batch, .threads = threads});
  EXPECT_TRUE(info) << info.error().message;
  return *info;
}

NetworkDefinition shaped(NetworkDefinition network) {
  const auto done = infer_shapes(network, 1);
  EXPECT_TRUE(done) << done.error().message;
  return network;
}

std::shared_ptr<const Engine> load(const NetworkDefinition& network, std::int32_t threads = 1,
                                      std::int32_t max_batch = 1) {
  auto engine = cpu::native::load(network, info_of(network, threads, max_batch));
  EXPECT_TRUE(engine) << engine.error().message;
  return engine ? *engine : nullptr;
}

std::size_t count_of(const Engine& engine, std::string_view implementation) {
  const auto layers = engine.inspect().layers;
  return static_cast<std::size_t>(std::count_if(
      layers.begin(), layers.end(),
      [&](const LayerReport& layer) { return layer.implementation.starts_with(implementation); }));
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::abs(value));
  ASSERT_GT(largest, 0.01F) << "an output of zeros proves nothing";
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 3e-5F * largest + 1e-6F) << "at " << i;
  }
}

// The instruction set of f32 convolutions on this CPU.
std::string float_isa() {
  return std::string(kernels::best_tiles(DataType::kFloat32, kernels::cpu_features())->isa);
}

class NativeProvider : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::best_tiles(DataType::kFloat32, kernels::cpu_features())) {
      GTEST_SKIP() << "needs vectors";
    }
  }

  // On one and on two threads, twice in one context.
  static std::shared_ptr<const Engine> check(const NetworkDefinition& graph) {
    const NetworkDefinition network = shaped(graph);
    auto reference = load_reference_engine(network, info_of(network));
    EXPECT_TRUE(reference) << reference.error().message;
    const Outputs want = run_engine(**reference, pictures(1))[0];
    std::shared_ptr<const Engine> engine;
    for (const std::int32_t threads : {2, 1}) {
      engine = load(network, threads);
      if (!engine) return nullptr;
      const Outputs got = run_engine(*engine, pictures(1), 2)[0];
      EXPECT_EQ(got.size(), want.size());
      for (std::size_t k = 0; k < want.size(); ++k) {
        SCOPED_TRACE("output " + std::to_string(k) + ", threads " + std::to_string(threads));
        expect_near(got[k], want[k]);
      }
    }
    return engine;
  }
};

TEST_F(NativeProvider, ConvolutionWithEveryActivation) {
  for (const auto activation :
       {Activation::kNone, Activation::kSilu, Activation::kRelu, Activation::kLeakyRelu,
        Activation::kSigmoid, Activation::kHardSwish}) {
    SCOPED_TRACE(to_string(activation));
    SmallNetwork n(kHeight, kWidth);
    const ValueId x = n.stem(16);
    check(n.finish({n.conv(x, {.in = 16, .out = 32, .kernel = 3, .activation = activation})}));
  }
}

TEST_F(NativeProvider, BlockIsConvolutionsOnly) {
  for (const std::int64_t half : {16, 12, 5}) {
    SmallNetwork n(kHeight, kWidth);
    const ValueId x = n.stem(2 * half);
    auto engine = check(n.finish({n.c2f(x, 2 * half, half)}));
    ASSERT_TRUE(engine);
    EXPECT_EQ(engine->inspect().layers.size(), 5U);
    EXPECT_EQ(count_of(*engine, float_isa() + "/"), 5U);
  }
}

TEST_F(NativeProvider, PoolingPyramidWritesIntoItsConcat) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(16);
  const ValueId b = n.max_pool(a, 5);
  const ValueId c = n.max_pool(b, 5);
  const ValueId d = n.max_pool(c, 5);
  auto engine = check(n.finish({n.conv(n.concat({a, b, c, d}), {.in = 64, .out = 16})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->inspect().layers.size(), 5U);
}

TEST_F(NativeProvider, StridedPoolingOfThePicture) {
  SmallNetwork n(kHeight, kWidth);
  check(n.finish({n.conv(n.max_pool(n.x(), 3, 2), {.in = 3, .out = 16, .scale = 0.01F})}));
}

TEST_F(NativeProvider, AveragesOfPictures) {
  for (const auto& [kernel, stride, pad, counted] :
       {std::tuple(2, 1, 0, true), std::tuple(3, 2, 1, true), std::tuple(3, 2, 1, false)}) {
    SmallNetwork n(kHeight, kWidth);
    const ValueId pooled = n.average_pool(n.stem(12), kernel, stride, pad, counted);
    auto engine = check(n.finish({n.conv(pooled, {.in = 12, .out = 9, .kernel = 3})}));
    ASSERT_TRUE(engine);
    EXPECT_EQ(count_of(*engine, "reference"), 0U);
  }
}

TEST_F(NativeProvider, AverageOfAWholePicture) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId pooled = n.add(OpType::kGlobalAveragePool, {n.stem(20)}, {});
  auto engine = check(n.finish({n.conv(pooled, {.in = 20, .out = 9})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "reference"), 0U);
}

TEST_F(NativeProvider, UpsamplingIsAnotherDestination) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId large = n.stem(16);
  const ValueId small = n.conv(large, {.in = 16, .out = 24, .kernel = 3, .stride = 2});
  const ValueId joined = n.conv(n.concat({n.upsample(small), large}), {.in = 40, .out = 16});
  auto engine = check(n.finish({joined, n.conv(small, {.in = 24, .out = 7, .kernel = 3})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->inspect().layers.size(), 4U);
}

TEST_F(NativeProvider, UpsamplingOfWhatIsNoConvolution) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId pooled = n.max_pool(n.stem(12), 3, 2);
  const ValueId up = n.upsample(pooled);
  check(n.finish({n.conv(n.upsample(up), {.in = 12, .out = 9, .kernel = 3})}));
}

TEST_F(NativeProvider, UpsamplingTwiceInARow) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId up = n.upsample(n.upsample(n.stem(12)));
  check(n.finish({n.conv(up, {.in = 12, .out = 9, .kernel = 3})}));
}

TEST_F(NativeProvider, PartOfTwoConcatsIsWrittenTwice) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(16);
  const ValueId b = n.conv(a, {.in = 16, .out = 16});
  const ValueId c = n.conv(a, {.in = 16, .out = 16});
  auto engine = check(n.finish({n.conv(n.concat({a, b}), {.in = 32, .out = 16}),
                                n.conv(n.concat({c, a}), {.in = 32, .out = 16, .kernel = 3})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->inspect().layers.size(), 5U);
}

TEST_F(NativeProvider, PooledPartOfTwoConcatsIsCopied) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.max_pool(n.stem(16), 3);
  const ValueId b = n.max_pool(a, 3);
  auto engine = check(n.finish({n.conv(n.concat({a, b}), {.in = 32, .out = 16}),
                                n.conv(n.concat({b, a}), {.in = 32, .out = 16})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "copy"), 2U);
}

TEST_F(NativeProvider, RepeatedAndReorderedPartsOfAConcat) {
  SmallNetwork n(kHeight, kWidth);
  const auto parts = n.split(n.stem(48), {16, 16, 16});
  const ValueId twice = n.concat({parts[2], parts[0], parts[2]});
  check(n.finish({n.conv(twice, {.in = 48, .out = 16})}));
}

TEST_F(NativeProvider, ConcatOfConcatsAndOfThePicture) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.conv(n.x(), {.in = 3, .out = 16, .kernel = 3, .scale = 0.01F});
  const ValueId b = n.conv(a, {.in = 16, .out = 20});
  const ValueId inner = n.concat({b, a, n.x()});
  const ValueId c = n.conv(inner, {.in = 39, .out = 16, .kernel = 3, .scale = 0.01F});
  check(n.finish({n.conv(n.concat({c, inner}), {.in = 55, .out = 16, .scale = 0.1F})}));
}

TEST_F(NativeProvider, SplitAtAnyChannelIsAddressing) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId joined = n.concat({n.stem(16), n.stem(16)});
  const auto parts = n.split(joined, {5, 27});
  auto engine = check(n.finish({n.conv(parts[0], {.in = 5, .out = 16, .kernel = 3}),
                                n.conv(parts[1], {.in = 27, .out = 16})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->inspect().layers.size(), 4U);
}

TEST_F(NativeProvider, ValuesThatAreOutputsAndAreReadToo) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(20);
  const auto parts = n.split(a, {8, 12});
  const ValueId pooled = n.max_pool(parts[1], 3);
  const ValueId both = n.concat({parts[0], pooled});
  check(n.finish({a, parts[1], pooled, both, n.upsample(parts[0]),
                  n.conv(both, {.in = 20, .out = 8, .kernel = 3, .residual = parts[0]})}));
}

TEST_F(NativeProvider, LayersThatWereNotFused) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(16);
  const ValueId sum = n.add(OpType::kAdd, {a, n.conv(a, {.in = 16, .out = 16})});
  const ValueId silu = n.add(OpType::kSilu, {sum});
  const ValueId leaky = n.add(OpType::kLeakyRelu, {silu}, {{"alpha", 0.2F}});
  check(n.finish({n.conv(leaky, {.in = 16, .out = 8, .kernel = 5})}));
}

TEST_F(NativeProvider, UnevenWindowsAndOddSizes) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(8, 3);
  const ValueId b = n.conv(a, {.in = 8, .out = 19, .kernel = 7, .stride = 2});
  const ValueId c = n.conv(b, {.in = 19, .out = 33, .kernel = 5});
  check(n.finish({n.conv(c, {.in = 33, .out = 1, .activation = Activation::kNone})}));
}

TEST_F(NativeProvider, BatchRunsItemByItemIntoSeparateMemory) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(16);
  const NetworkDefinition network = shaped(n.finish(
      {n.c2f(x, 16, 16), n.conv(x, {.in = 16, .out = 3, .activation = Activation::kNone})}));
  auto reference = load_reference_engine(network, info_of(network, 1, 3));
  ASSERT_TRUE(reference);
  const auto want = run_engine(**reference, pictures(3));
  auto engine = load(network, 2, 3);
  ASSERT_TRUE(engine);
  const auto got = run_engine(*engine, pictures(3));
  for (std::size_t item = 0; item < 3; ++item) {
    for (std::size_t k = 0; k < 2; ++k) expect_near(got[item][k], want[item][k]);
  }
}

TEST_F(NativeProvider, DeclinesGroupedConvolutionsAndNamesThem) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(24);
  const NetworkDefinition network =
      shaped(n.finish({n.conv(x, {.in = 24, .out = 24, .kernel = 3, .groups = 3})}));
  const auto declined = cpu::native::load(network, info_of(network), {.alone = false});
  ASSERT_FALSE(declined);
  EXPECT_EQ(declined.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(declined.error().message.find("Conv_2"), std::string::npos) << declined.error().message;
  auto engine = load_cpu_engine(network, info_of(network));
  ASSERT_TRUE(engine) << engine.error().message;
  const auto cpu = *engine;
  ASSERT_TRUE(cpu);
  EXPECT_EQ(count_of(*cpu, "onednn"), onednn_available() ? 1U : 0U);
  ASSERT_FALSE(cpu->inspect().declined.empty());
  EXPECT_NE(cpu->inspect().declined[0].find("Conv_2"), std::string::npos) << cpu->inspect().declined[0];
}

// As in a build without oneDNN, whatever this one has.
TEST(NativeProviderAlone, RunsGroupedConvolutionsAndCpusWithoutVectors) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(24);
  const NetworkDefinition network =
      shaped(n.finish({n.conv(x, {.in = 24, .out = 24, .kernel = 3, .groups = 3})}));
  auto reference = load_reference_engine(network, info_of(network));
  ASSERT_TRUE(reference);
  const Outputs want = run_engine(**reference, pictures(1))[0];
  for (const kernels::CpuFeatures& features : {kernels::cpu_features(), kernels::CpuFeatures()}) {
    const auto engine =
        cpu::native::load(network, info_of(network), {.features = features, .alone = true});
    ASSERT_TRUE(engine) << engine.error().message;
    EXPECT_GE(count_of(**engine, "scalar"), 1U);
    EXPECT_FALSE((*engine)->inspect().declined.empty());
    expect_near(run_engine(**engine, pictures(1))[0][0], want[0]);
  }
  EXPECT_FALSE(cpu::native::load(network, info_of(network), {.features = {}, .alone = false}));
}

TEST(TensorSteps, CommonExtentsCutBothShapes) {
  EXPECT_EQ(common_extents({1, 2, 64, 12}, {1, 128, 3, 4}), (Dims{2, 64, 3, 4}));
  EXPECT_EQ(common_extents({6}, {3, 1, 2}), (Dims{3, 2}));
  EXPECT_EQ(common_extents({2, 3, 4}, {24}), (Dims{2, 3, 4}));
  EXPECT_EQ(common_extents({1, 1}, {1}), (Dims{}));
  EXPECT_FALSE(common_extents({4, 6}, {3, 8}));
}

TEST_F(NativeProvider, TacticOfALayerCanBeForced) {
  SmallNetwork n(kHeight, kWidth);
  const NetworkDefinition network = shaped(n.finish({n.c2f(n.stem(32), 32, 16)}));
  const Outputs want = run_engine(*load(network), pictures(1))[0];
  const std::string layer = "Conv_2";
  const auto* tiles = kernels::best_tiles(DataType::kFloat32, kernels::cpu_features());
  const int width = tiles->tiles().widths[1][1];
  const std::string tactic = float_isa() + "/1x" + std::to_string(width) + "/weights";
  auto forced = cpu::native::load(network, info_of(network), {.tactics = {{layer, tactic}}});
  ASSERT_TRUE(forced) << forced.error().message;
  std::size_t found = 0;
  for (const LayerReport& report : (*forced)->inspect().layers) {
    if (report.layer != layer) continue;
    ++found;
    EXPECT_EQ(report.implementation, tactic);
  }
  EXPECT_EQ(found, 1U);
  expect_near(run_engine(**forced, pictures(1))[0][0], want[0]);
}

TEST_F(NativeProvider, ExecutionAllocatesNothing) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(16);
  const ValueId pooled = n.max_pool(n.c2f(x, 16, 16), 3);
  const NetworkDefinition network = shaped(n.finish({n.upsample(pooled), x}));
  auto engine = load(network, 2);
  ASSERT_TRUE(engine);
  auto context = engine->create_execution_context();
  ASSERT_TRUE(context);
  test::Bindings bindings(engine->info(), pictures(1));
  const fovea::test::AllocationGuard guard;
  const auto done = (*context)->execute(bindings.batch());
  EXPECT_EQ(guard.count(), 0U);
  EXPECT_TRUE(done);
}

TEST_F(NativeProvider, TimesEveryStepWhenAsked) {
  SmallNetwork n(kHeight, kWidth);
  const NetworkDefinition network = shaped(n.finish({n.c2f(n.stem(16), 16, 16)}));
  auto engine = load(network);
  ASSERT_TRUE(engine);
  auto context = engine->create_execution_context();
  ASSERT_TRUE(context);
  std::vector<std::chrono::nanoseconds> times(engine->inspect().layers.size());
  EXPECT_FALSE((*context)->record_layer_times(std::span(times).first(1)));
  ASSERT_TRUE((*context)->record_layer_times(times));
  test::Bindings bindings(engine->info(), pictures(1));
  ASSERT_TRUE((*context)->execute(bindings.batch()));
  for (const auto time : times) EXPECT_GT(time.count(), 0);
  const auto before = times;
  ASSERT_TRUE((*context)->record_layer_times({}));
  ASSERT_TRUE((*context)->execute(bindings.batch()));
  EXPECT_EQ(times, before);
}

}  // namespace
}  // namespace fovea::engine
