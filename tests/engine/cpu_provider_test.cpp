// The CPU provider against the reference on small networks: every way in which a layer can be
// placed, converted or refused. CMake runs the whole file once per instruction set (FOVEA_ISA).
#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"
#include "tests/engine/small_network.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::engine {
namespace {

using test::SmallNetwork;

constexpr std::int64_t kHeight = 48;
constexpr std::int64_t kWidth = 64;
constexpr auto kPoison = std::byte{0xFF};  // NaN in every float

// Memory for one tensor at the alignment that bindings need, with a guard behind it.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes) : bytes_(bytes), storage_(bytes + 128, kPoison) {}
  std::byte* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64) % 64;
  }
  bool guard_is_intact() {
    return std::all_of(data() + bytes_, storage_.data() + storage_.size(),
                       [](std::byte byte) { return byte == kPoison; });
  }

 private:
  std::size_t bytes_;
  std::vector<std::byte> storage_;
};

Plan plan_of(NetworkDefinition network, std::int32_t max_batch = 1, std::int32_t threads = 1) {
  Plan plan;
  plan.provider = "onednn";
  plan.max_batch = max_batch;
  plan.threads = threads;
  plan.network = std::move(network);
  return plan;
}

std::shared_ptr<const Engine> load(const Plan& plan) {
  auto engine = load_engine(plan);
  EXPECT_TRUE(engine) << engine.error().message;
  return engine ? *engine : nullptr;
}

std::size_t count_of(const Engine& engine, std::string_view implementation) {
  const auto layers = engine.inspect().layers;
  return static_cast<std::size_t>(std::count_if(
      layers.begin(), layers.end(),
      [&](const LayerReport& layer) { return layer.implementation.starts_with(implementation); }));
}

// What the reference computes for one picture: output by output, in the layout that the engine
// promises.
std::vector<std::vector<float>> expected(const NetworkDefinition& network,
                                         const std::vector<std::uint8_t>& picture) {
  Constant input = Constant::make(DataType::kUint8, {1, kHeight, kWidth, 3});
  std::memcpy(input.bytes.data(), picture.data(), picture.size());
  auto outputs = reference::evaluate(network, {{"images", input}});
  EXPECT_TRUE(outputs) << outputs.error().message;
  std::vector<std::vector<float>> result;
  for (const ValueId id : network.outputs) {
    const Constant& tensor = outputs->at(network.value(id).name);
    std::vector<float> values(tensor.data<float>(), tensor.data<float>() + tensor.size());
    if (network.head.spec.channels_last(network.value(id).name) && tensor.dims.size() == 4) {
      const std::int64_t channels = tensor.dims[1];
      const std::int64_t pixels = tensor.dims[2] * tensor.dims[3];
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t i = 0; i < pixels; ++i) {
          values[static_cast<std::size_t>(i * channels + c)] = tensor.data<float>()[c * pixels + i];
        }
      }
    }
    result.push_back(std::move(values));
  }
  return result;
}

void expect_near(std::span<const float> got, std::span<const float> want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::abs(value));
  ASSERT_GT(largest, 0.01F) << what << ": an output of zeros proves nothing";
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 2e-5F * largest + 1e-6F) << what << " at " << i;
  }
}

// Runs `pictures` as one batch and compares every output of every item.
void expect_matches_reference(const NetworkDefinition& network, const Engine& engine,
                              std::size_t pictures = 1) {
  auto context = engine.create_execution_context();
  ASSERT_TRUE(context) << context.error().message;
  const EngineInfo& info = engine.info();
  std::vector<Buffer> inputs;
  std::vector<Buffer> outputs;
  std::vector<std::vector<MemoryView>> views(pictures);
  std::vector<BatchItem> batch;
  outputs.reserve(pictures * info.outputs.size());
  inputs.reserve(pictures);
  for (std::size_t item = 0; item < pictures; ++item) {
    const auto picture = SmallNetwork::picture(kHeight, kWidth, static_cast<unsigned>(item));
    inputs.emplace_back(picture.size());
    std::memcpy(inputs.back().data(), picture.data(), picture.size());
    for (const TensorSpec& output : info.outputs) {
      outputs.emplace_back(output.bytes);
      views[item].push_back({outputs.back().data(), output.bytes});
    }
    batch.push_back({{inputs.back().data(), picture.size()}, views[item]});
  }
  const auto done = (*context)->execute(batch);
  ASSERT_TRUE(done) << done.error().message;
  for (std::size_t item = 0; item < pictures; ++item) {
    const auto want =
        expected(network, SmallNetwork::picture(kHeight, kWidth, static_cast<unsigned>(item)));
    for (std::size_t k = 0; k < want.size(); ++k) {
      const auto* values = static_cast<const float*>(views[item][k].data);
      expect_near({values, info.outputs[k].bytes / sizeof(float)}, want[k],
                  info.outputs[k].name + " of item " + std::to_string(item));
    }
  }
  for (Buffer& output : outputs) EXPECT_TRUE(output.guard_is_intact());
}

std::shared_ptr<const Engine> check(NetworkDefinition network) {
  auto engine = load(plan_of(network));
  if (engine) expect_matches_reference(network, *engine);
  return engine;
}

TEST(CpuProvider, ConvolutionWithEveryActivation) {
  for (const auto activation :
       {Activation::kNone, Activation::kSilu, Activation::kRelu, Activation::kLeakyRelu,
        Activation::kSigmoid, Activation::kHardSwish}) {
    SCOPED_TRACE(to_string(activation));
    SmallNetwork n(kHeight, kWidth);
    const ValueId x = n.stem(16);
    check(n.finish({n.conv(x, {.in = 16, .out = 32, .kernel = 3, .activation = activation})}));
  }
}

TEST(CpuProvider, BlockOfWholeChannelBlocksCopiesNothing) {
  SmallNetwork n(kHeight, kWidth);
  auto engine = check(n.finish({n.c2f(n.stem(32), 32, 16)}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "copy"), 0U);
  EXPECT_EQ(count_of(*engine, "reference"), 0U);
  EXPECT_EQ(count_of(*engine, "onednn jit"), 5U);
}

TEST(CpuProvider, BlockOfTwelveChannelsIsPaddedInsteadOfCopied) {
  SmallNetwork n(kHeight, kWidth);
  auto engine = check(n.finish({n.c2f(n.stem(24), 24, 12)}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "copy"), 0U);
  EXPECT_EQ(count_of(*engine, "reference"), 0U);
}

TEST(CpuProvider, OutputChannelsThatAreNoMultipleOfABlock) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(16);
  check(n.finish({n.conv(x, {.in = 16, .out = 1, .activation = Activation::kNone}),
                  n.conv(x, {.in = 16, .out = 19, .activation = Activation::kNone}),
                  n.conv(x, {.in = 16, .out = 80, .activation = Activation::kNone})}));
}

TEST(CpuProvider, PoolingPyramidWritesIntoItsConcat) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(16);
  const ValueId b = n.max_pool(a, 5);
  const ValueId c = n.max_pool(b, 5);
  const ValueId d = n.max_pool(c, 5);
  auto engine = check(n.finish({n.conv(n.concat({a, b, c, d}), {.in = 64, .out = 16})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "copy"), 0U);
  EXPECT_EQ(count_of(*engine, "onednn jit"), 5U);
}

TEST(CpuProvider, UpsamplingWritesIntoItsConcat) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId large = n.stem(16);
  const ValueId small = n.conv(large, {.in = 16, .out = 24, .kernel = 3, .stride = 2});
  auto engine =
      check(n.finish({n.conv(n.concat({n.upsample(small), large}), {.in = 40, .out = 16})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "copy"), 0U);
}

TEST(CpuProvider, OnePartOfTwoConcatsIsCopiedOnce) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(16);
  const ValueId b = n.conv(a, {.in = 16, .out = 16});
  const ValueId c = n.conv(a, {.in = 16, .out = 16});
  auto engine = check(n.finish({n.conv(n.concat({a, b}), {.in = 32, .out = 16}),
                                n.conv(n.concat({c, a}), {.in = 32, .out = 16})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "copy channels"), 1U);
}

TEST(CpuProvider, RepeatedAndReorderedPartsOfAConcat) {
  SmallNetwork n(kHeight, kWidth);
  const auto parts = n.split(n.stem(48), {16, 16, 16});
  const ValueId twice = n.concat({parts[2], parts[0], parts[2]});
  check(n.finish({n.conv(twice, {.in = 48, .out = 16})}));
}

TEST(CpuProvider, ConcatOfConcats) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(16);
  const ValueId b = n.conv(a, {.in = 16, .out = 20});
  const ValueId inner = n.concat({b, a});
  const ValueId c = n.conv(inner, {.in = 36, .out = 16});
  auto engine = check(n.finish({n.conv(n.concat({c, inner}), {.in = 52, .out = 16})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "copy"), 0U);
}

TEST(CpuProvider, SplitThatCrossesBlocks) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId joined = n.concat({n.stem(16), n.stem(16)});
  const auto parts = n.split(joined, {5, 27});  // a concat cannot be reordered for its reader
  check(
      n.finish({n.conv(parts[0], {.in = 5, .out = 16}), n.conv(parts[1], {.in = 27, .out = 16})}));
}

TEST(CpuProvider, ResidualThatLiesInPaddedParts) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(12);
  const ValueId both = n.concat({a, n.conv(a, {.in = 12, .out = 12})});
  check(n.finish({n.conv(both, {.in = 24, .out = 24, .kernel = 3, .residual = both})}));
}

TEST(CpuProvider, AddThatWasNotFused) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(16);
  auto engine = check(n.finish({n.add(OpType::kAdd, {a, n.conv(a, {.in = 16, .out = 16})})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "add"), 1U);
}

TEST(CpuProvider, DepthwiseConvolution) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(24);
  auto engine = check(n.finish({n.conv(x, {.in = 24, .out = 24, .kernel = 3, .groups = 24})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "reference"), 0U);
}

TEST(CpuProvider, GroupedConvolutionRunsOnTheReferenceAndSaysWhy) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(16);
  auto engine = check(n.finish({n.conv(x, {.in = 16, .out = 16, .kernel = 3, .groups = 4})}));
  ASSERT_TRUE(engine);
  EXPECT_EQ(count_of(*engine, "reference"), 1U);
  ASSERT_EQ(engine->inspect().declined.size(), 1U);
  EXPECT_NE(engine->inspect().declined[0].find("4 groups"), std::string::npos) << engine->inspect().declined[0];
}

TEST(CpuProvider, OddOperatorsBetweenBlockedOnes) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(20);
  const ValueId b = n.add(OpType::kTanh, {a});
  const ValueId c = n.conv(b, {.in = 20, .out = 20, .kernel = 3, .residual = b});
  const ValueId d = n.add(OpType::kSoftmax, {n.concat({c, b})}, {{"axis", std::int64_t{1}}});
  check(n.finish({n.conv(d, {.in = 40, .out = 16, .scale = 20})}));
}

TEST(CpuProvider, OutputsOfOtherRanksLeaveAsTheyAre) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId a = n.stem(20);
  const ValueId t =
      n.add(OpType::kTranspose, {a}, {{"perm", std::vector<std::int64_t>{0, 2, 3, 1}}});
  check(n.finish({t, a}, /*dfl=*/false));
}

TEST(CpuProvider, BatchRunsItemByItemIntoSeparateMemory) {
  SmallNetwork n(kHeight, kWidth);
  const ValueId x = n.stem(16);
  const NetworkDefinition network = n.finish(
      {n.c2f(x, 16, 16), n.conv(x, {.in = 16, .out = 3, .activation = Activation::kNone})});
  auto engine = load(plan_of(network, /*max_batch=*/4, /*threads=*/2));
  ASSERT_TRUE(engine);
  expect_matches_reference(network, *engine, 4);
  expect_matches_reference(network, *engine, 2);
}

TEST(CpuProvider, RefusesWrongBatchesAndPointers) {
  SmallNetwork n(kHeight, kWidth);
  auto engine = load(plan_of(n.finish({n.stem(16)}), 2));
  ASSERT_TRUE(engine);
  auto context = engine->create_execution_context();
  ASSERT_TRUE(context);
  Buffer input(engine->info().input.bytes);
  Buffer output(engine->info().outputs[0].bytes);
  const std::size_t in = engine->info().input.bytes;
  const std::size_t out = engine->info().outputs[0].bytes;
  const MemoryView good{output.data(), out};
  const MemoryView misaligned{output.data() + 4, out};
  const MemoryView none{nullptr, out};
  const MemoryView short_one{output.data(), out - 1};
  const MemoryView elsewhere{output.data(), out, MemoryKind::kCuda};
  const auto code = [&](std::vector<BatchItem> batch) {
    const auto done = (*context)->execute(batch);
    return done ? std::string("ok") : std::string(to_string(done.error().code));
  };
  const BatchItem item{{input.data(), in}, {&good, 1}};
  const std::string refused(to_string(ErrorCode::kInvalidArgument));
  EXPECT_EQ(code({}), refused);
  EXPECT_EQ(code({item, item, item}), refused);
  EXPECT_EQ(code({{{nullptr, in}, {&good, 1}}}), refused);
  EXPECT_EQ(code({{{input.data() + 1, in}, {&good, 1}}}), refused);
  EXPECT_EQ(code({{{input.data(), in - 1}, {&good, 1}}}), refused);
  for (const MemoryView& bad : {misaligned, none, short_one, elsewhere}) {
    EXPECT_EQ(code({{{input.data(), in}, {&bad, 1}}}), refused);
  }
  EXPECT_EQ(code({{{input.data(), in}, {}}}), refused);
  EXPECT_EQ(code({item, item}), "ok");
}

TEST(CpuProvider, TwoContextsOfOneEngineDoNotDisturbEachOther) {
  SmallNetwork n(kHeight, kWidth);
  const NetworkDefinition network = n.finish({n.c2f(n.stem(16), 16, 16)});
  auto engine = load(plan_of(network));
  ASSERT_TRUE(engine);
  expect_matches_reference(network, *engine);
  auto other = engine->create_execution_context();
  ASSERT_TRUE(other);
  expect_matches_reference(network, *engine);
}

// oneDNN keeps a handful of small nodes per primitive on the heap while it runs; nothing of ours
// may add to that, so further steps around the same convolution must not change the count.
TEST(CpuProvider, ExecutionAllocatesNothingOfItsOwn) {
  const auto allocations = [](NetworkDefinition network, std::size_t convolutions) {
    auto engine = load(plan_of(std::move(network)));
    auto context = engine->create_execution_context();
    EXPECT_TRUE(context);
    EXPECT_EQ(count_of(*engine, "onednn"), convolutions);
    const Bindings bindings(engine->info());
    EXPECT_TRUE((*context)->execute(bindings.batch()));  // the first run may set up the thread team
    const fovea::test::AllocationGuard guard;
    EXPECT_TRUE((*context)->execute(bindings.batch()));
    return guard.count();
  };
  SmallNetwork plain(kHeight, kWidth);
  const std::size_t of_library = allocations(plain.finish({plain.stem(16)}), 1);
  EXPECT_LE(of_library, 8U);
  SmallNetwork rich(kHeight, kWidth);
  const ValueId x = rich.stem(16);
  const auto parts = rich.split(rich.concat({x, rich.upsample(x, 1), x}), {7, 41});
  const ValueId sum = rich.add(OpType::kAdd, {parts[0], rich.add(OpType::kTanh, {parts[0]})});
  EXPECT_EQ(allocations(rich.finish({rich.upsample(sum), parts[1]}), 1), of_library);
}

TEST(CpuProvider, PlanWhoseWeightsContradictItsShapesIsRefused) {
  SmallNetwork n(kHeight, kWidth);
  NetworkDefinition network = n.finish({n.stem(16)});
  for (Value& value : network.values) {
    if (value.constant && value.constant->dims.size() == 4) {
      value.constant =
          std::make_shared<const Constant>(Constant::make(DataType::kFloat32, {16, 7, 3, 3}));
      value.dims = value.constant->dims;
    }
  }
  const auto engine = load_engine(plan_of(network));
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::kCorrupt) << engine.error().message;
}

}  // namespace
}  // namespace fovea::engine
