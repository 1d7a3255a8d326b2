// 8-bit grids: which values share one, what a forged plan must not contain, and that the reference
// rounds where the rules say.
#include "nodes/detector/engine/quantization/quantization.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/reference/rounding.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea::engine {
namespace {

NetworkDefinition shaped(NetworkDefinition network) {
  EXPECT_TRUE(infer_shapes(network, 1));
  return network;
}

// A stem, a C2f block, pooling, upsampling, and an 8-bit path to an output.
NetworkDefinition block() {
  test::SmallNetwork n(16, 16);
  const ValueId x = n.stem(8);
  const ValueId y = n.c2f(x, 8, 4);
  const ValueId pooled = n.max_pool(y, 2, 2);
  const ValueId up = n.upsample(pooled);
  return shaped(n.finish({n.conv(up, {.in = 8, .out = 4, .activation = Activation::kNone})}));
}

// All grids and layers that block() may have.
NetworkDefinition quantised_block() {
  NetworkDefinition network = block();
  const auto shared = shared_grids(network);
  Quantization& q = network.quantization;
  q.values.resize(network.values.size());
  q.layers.resize(network.layers.size());
  for (std::size_t i = 0; i < shared.size(); ++i) {
    if (shared[i] != kNoValue) q.values[i] = {0.05F, 6};
  }
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.op == OpType::kImageInput) {
      q.values[static_cast<std::size_t>(layer.outputs[0])] = {1, 0};
    }
    if (!can_be_int8(network, layer)) continue;
    q.layers[i].precision = Precision::kInt8;
    if (layer.activation != Activation::kNone) q.layers[i].pre_activation = {0.06F, -60};
  }
  return network;
}

TEST(QuantizationGrid, CoversItsRangeAndHasZero) {
  const QuantizationGrid grid = QuantizationGrid::over(-0.2785F, 10, 0);
  EXPECT_NEAR(grid.scale, 10.2785F / 255, 1e-6);
  EXPECT_EQ(grid.zero_point, 7);
  EXPECT_EQ(QuantizationGrid::over(-4, 12, -128).zero_point, -128 + 64);
  EXPECT_EQ(QuantizationGrid::over(1, 2, 0).zero_point, 0);  // 0 has a code
  EXPECT_TRUE(QuantizationGrid::over(0, 0, 0));
}

// One scale for a whole tensor leaves channels whose largest code is below 127.
TEST(QuantizeWeights, ThatWereRoundedAreNotRoundedAgain) {
  constexpr float kScale = 0.0173F;
  std::mt19937 random(5);
  for (const int largest : {127, 101, 64, 13, 1}) {
    std::uniform_int_distribution<int> code(-largest, largest);
    std::vector<float> weights(40);
    for (float& weight : weights) weight = static_cast<float>(code(random)) * kScale;
    weights[7] = static_cast<float>(-largest) * kScale;
    const QuantizedWeights q = quantize_weights(weights, 1);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      ASSERT_NEAR(static_cast<float>(q.codes[i]) * q.scales[0], weights[i], 1e-4F * kScale)
          << largest << " " << i;
    }
  }
}

TEST(QuantizeWeights, ScalesEachOutputChannelByItself) {
  const std::vector<float> weights = {1.01F, -2, 0.5031F, 0, 0, 0, 100, 50.3F, -25.1F};
  const QuantizedWeights q = quantize_weights(weights, 3);
  EXPECT_EQ(q.codes, (std::vector<std::int8_t>{64, -127, 32, 0, 0, 0, 127, 64, -32}));
  ASSERT_EQ(q.scales.size(), 3U);
  EXPECT_FLOAT_EQ(q.scales[0], 2.0F / 127);
  EXPECT_FLOAT_EQ(q.scales[1], 1);
  EXPECT_FLOAT_EQ(q.scales[2], 100.0F / 127);
}

TEST(SharedGrids, JoinWhatIsOnlyMovedOrAdded) {
  const NetworkDefinition network = block();
  const auto shared = shared_grids(network);
  const auto set = [&](std::size_t layer, std::size_t output = 0) {
    return shared[static_cast<std::size_t>(network.layers[layer].outputs[output])];
  };
  // 0 image, 1 stem, 2 cv1, 3 split, 4 and 5 the bottleneck, 6 concat, 7 cv2, 8 pool, 9 resize, 10
  // output.
  ASSERT_EQ(network.layers[6].op, OpType::kConcat);
  EXPECT_EQ(set(2), set(3, 0));
  EXPECT_EQ(set(2), set(3, 1));
  EXPECT_EQ(set(2), set(5));  // the residual sum
  EXPECT_EQ(set(2), set(6));
  EXPECT_NE(set(2), set(4));  // inside the bottleneck
  EXPECT_EQ(set(7), set(8));
  EXPECT_EQ(set(7), set(9));
  EXPECT_NE(set(7), set(6));
  EXPECT_NE(set(0), kNoValue);
  EXPECT_EQ(set(10), kNoValue);  // a network output stays f32
  EXPECT_EQ(shared[static_cast<std::size_t>(network.inputs[0])], kNoValue);
}

TEST(SharedGrids, ExcludeWhatOtherOperatorsTouch) {
  test::SmallNetwork n(16, 16);
  const ValueId x = n.stem(8);
  const ValueId soft = n.add(OpType::kSoftmax, {x});
  const ValueId y = n.conv(soft, {.in = 8, .out = 8});
  const NetworkDefinition network = shaped(n.finish({n.conv(y, {.in = 8, .out = 4})}));
  const auto shared = shared_grids(network);
  EXPECT_EQ(shared[static_cast<std::size_t>(x)], kNoValue);
  EXPECT_EQ(shared[static_cast<std::size_t>(soft)], kNoValue);
  EXPECT_NE(shared[static_cast<std::size_t>(y)], kNoValue);
}

TEST(MovesData, OnlyPlainDoublingIsUpsampling) {
  test::SmallNetwork n(16, 16);
  const ValueId x = n.stem(8);
  const ValueId twice = n.upsample(x);
  const ValueId thrice = n.upsample(x, 3);
  const NetworkDefinition network = shaped(n.finish({twice, thrice}));
  EXPECT_TRUE(moves_data(network, network.layers[2]));
  EXPECT_FALSE(moves_data(network, network.layers[3]));
}

TEST(CheckQuantization, AcceptsWhatTheRulesAllow) {
  const auto checked = check_quantization(quantised_block());
  EXPECT_TRUE(checked) << checked.error().message;
  EXPECT_TRUE(check_quantization(block()));
}

TEST(CheckQuantization, RefusesForgedGrids) {
  const auto expect_refused = [](const char* what, auto change) {
    NetworkDefinition network = quantised_block();
    change(network.quantization, network);
    const auto checked = check_quantization(network);
    ASSERT_FALSE(checked) << what;
    EXPECT_EQ(checked.error().code, ErrorCode::kCorrupt) << what;
  };
  const auto at = [](Quantization& q, ValueId id) -> QuantizationGrid& {
    return q.values[static_cast<std::size_t>(id)];
  };
  expect_refused("too few grids", [](Quantization& q, auto&) { q.values.pop_back(); });
  expect_refused("too few layers", [](Quantization& q, auto&) { q.layers.pop_back(); });
  expect_refused("NaN scale", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.layers[4].outputs[0]).scale = NAN;
  });
  expect_refused("vast scale", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.layers[4].outputs[0]).scale = 1e30F;
  });
  expect_refused("negative scale", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.layers[4].outputs[0]).scale = -1;
  });
  expect_refused("zero point", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.layers[4].outputs[0]).zero_point = 256;
  });
  expect_refused("unequal grids of a concat", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.layers[6].outputs[0]).scale = 0.1F;
  });
  expect_refused("output in 8 bits", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.outputs[0]) = {0.1F, 0};
  });
  expect_refused("input of an int8 layer in f32", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.layers[4].outputs[0]) = {};
  });
  expect_refused("int8 concat",
                 [](Quantization& q, auto&) { q.layers[6].precision = Precision::kInt8; });
  expect_refused("unknown precision",
                 [](Quantization& q, auto&) { q.layers[4].precision = static_cast<Precision>(7); });
  expect_refused("pre-activation of an f32 layer",
                 [](Quantization& q, auto&) { q.layers[4].precision = Precision::kFp32; });
  expect_refused("pre-activation zero point",
                 [](Quantization& q, auto&) { q.layers[4].pre_activation.zero_point = 128; });
  expect_refused("pre-activation before f32", [](Quantization& q, auto&) {
    q.layers[10].pre_activation = {0.1F, 0};
  });
  expect_refused("picture that is scaled", [&](Quantization& q, NetworkDefinition& n) {
    at(q, n.layers[0].outputs[0]).scale = 2;
  });
}

TEST(PackedWeights, StandForTheNumbersWithinHalfAStep) {
  const Constant weights = Constant::floats({2, 3}, {0.5F, -1.27F, 0.004F, 0, 0, 0});
  const Constant packed = pack_weights(weights);
  EXPECT_EQ(packed.type(), DataType::kFloat32);
  EXPECT_EQ(packed.bytes.size(), 6U);
  ASSERT_EQ(packed.scales.size(), 2U);
  const Constant plain = unpack_weights(packed);
  EXPECT_FALSE(plain.packed());
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(plain.data<float>()[i], weights.data<float>()[i], 0.501F * packed.scales[i / 3]);
  }
}

TEST(PackedWeights, ReplaceWhatOnlyInt8ConvolutionsRead) {
  NetworkDefinition network = quantised_block();
  std::vector<std::size_t> convolutions;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].op == OpType::kConv) convolutions.push_back(i);
  }
  // One layer stays f32, and another's weights are also somebody else's bias.
  network.quantization.layers[convolutions[1]] = {};
  network.layers[convolutions[1]].residual = network.layers[convolutions[2]].inputs[1];
  const NetworkDefinition before = network;
  pack_weights(network);
  for (std::size_t i = 0; i < convolutions.size(); ++i) {
    const Layer& layer = network.layers[convolutions[i]];
    const Constant& weights = *network.value(layer.inputs[1]).constant;
    EXPECT_EQ(weights.packed(), i != 1 && i != 2) << layer.name;
    EXPECT_FALSE(network.value(layer.inputs[2]).constant->packed());
    EXPECT_EQ(network.value(layer.inputs[1]).dtype, DataType::kFloat32);
  }
  EXPECT_TRUE(before.validate() && network.validate());
  unpack_weights(network);
  for (const Value& value : network.values)
    EXPECT_FALSE(value.constant && value.constant->packed());
}

TEST(PackedWeights, NobodyElseMayReadThem) {
  const NetworkDefinition good = [] {
    NetworkDefinition network = quantised_block();
    pack_weights(network);
    return network;
  }();
  ASSERT_TRUE(check_quantization(good));
  const auto expect_refused = [&](const char* what, auto change) {
    NetworkDefinition network = good;
    change(network);
    const auto checked = check_quantization(network);
    ASSERT_FALSE(checked) << what;
    EXPECT_EQ(checked.error().code, ErrorCode::kCorrupt) << what;
  };
  const std::size_t conv = 1;
  ASSERT_EQ(good.layers[conv].op, OpType::kConv);
  const ValueId weights = good.layers[conv].inputs[1];
  expect_refused("an f32 layer", [&](NetworkDefinition& n) { n.quantization.layers[conv] = {}; });
  expect_refused("a network without 8 bits", [](NetworkDefinition& n) { n.quantization = {}; });
  expect_refused("a bias", [&](NetworkDefinition& n) { n.layers[conv].inputs[2] = weights; });
  expect_refused("an input", [&](NetworkDefinition& n) { n.layers[conv].inputs[0] = weights; });
  expect_refused("a residual", [&](NetworkDefinition& n) { n.layers[conv].residual = weights; });
  expect_refused("an output", [&](NetworkDefinition& n) { n.outputs.push_back(weights); });
  for (const float scale : {0.0F, -1.0F, NAN, INFINITY}) {
    NetworkDefinition network = good;
    Constant forged = *network.value(weights).constant;
    forged.scales[0] = scale;
    network.value(weights).constant = std::make_shared<const Constant>(std::move(forged));
    EXPECT_FALSE(network.validate()) << scale;
  }
  NetworkDefinition network = good;
  Constant forged = *network.value(weights).constant;
  forged.scales.pop_back();
  network.value(weights).constant = std::make_shared<const Constant>(std::move(forged));
  EXPECT_FALSE(network.validate());
}

TEST(Quantization, SurvivesAPlan) {
  Plan plan;
  plan.provider = "reference";
  plan.precision = Precision::kInt8;
  plan.network = quantised_block();
  const auto read = deserialize(serialize(plan));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->network.quantization, plan.network.quantization);
  EXPECT_TRUE(load_engine(*read));
}

TEST(Quantization, PlanThatContradictsItselfIsRefused) {
  Plan plan;
  plan.provider = "reference";
  plan.network = quantised_block();
  const auto fp32 = load_engine(plan);
  ASSERT_FALSE(fp32);
  EXPECT_EQ(fp32.error().code, ErrorCode::kCorrupt);
  plan.precision = Precision::kInt8;
  plan.network.quantization = {};
  const auto int8 = load_engine(plan);
  ASSERT_FALSE(int8);
  EXPECT_EQ(int8.error().code, ErrorCode::kCorrupt);
}

TEST(Rounding, NearestCodeClampedTiesToEven) {
  std::vector<float> values = {0.24F, 0.25F, 0.75F, -0.3F, -100, 1000};
  reference::round_to_grid({0.5F, 1}, 0, values);
  EXPECT_EQ(values, (std::vector<float>{0, 0.5F, 0.5F, -0.5F, -0.5F, 127}));
  values = {-100, 100, 0.6F};
  reference::round_to_grid({0.5F, -100}, -128, values);
  EXPECT_EQ(values, (std::vector<float>{-14, 100, 0.5F}));
}

}  // namespace
}  // namespace fovea::engine
