// `verify --bisect`'s judge: an engine with one wrong layer among many is told by that layer's name, and
// a right one of any precision is not.
#include "nodes/detector/accuracy/layer_check.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "nodes/detector/accuracy/layer_marks.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/quantization/calibrator.hpp"
#include "nodes/detector/engine/reference/reference_engine.hpp"
#include "tests/engine/run_engine.hpp"
#include "tests/engine/small_network.hpp"

namespace fovea {
namespace {

// What provider "faulty" adds to the first bias of the layer of that name.
std::string faulty_layer;
float planted = 0;

Result<std::shared_ptr<const engine::Engine>> load_faulty(engine::NetworkDefinition lowered,
                                                          engine::EngineInfo info,
                                                          const engine::LayerTactics& tactics,
                                                          const engine::SharedBytes& artifact) {
  for (engine::Layer& layer : lowered.layers) {
    if (layer.name != faulty_layer) continue;
    const engine::Constant& bias = *lowered.value(layer.inputs[2]).constant;
    std::vector<float> values(bias.data<float>(), bias.data<float>() + bias.size());
    values[0] += planted;
    auto wrong =
        std::make_shared<const engine::Constant>(engine::Constant::floats(bias.dims, values));
    layer.inputs[2] = lowered.add_constant("wrong", std::move(wrong));
    if (!lowered.quantization.empty()) lowered.quantization.values.emplace_back();
  }
  return engine::load_cpu_engine(std::move(lowered), std::move(info), tactics, artifact);
}

constexpr engine::Provider kFaulty = {.name = "faulty",
                                      .identity = engine::cpu_identity,
                                      .load = load_faulty,
                                      .mixes_precisions = true};
constexpr std::array kRows = {engine::kCpuProvider, kFaulty, engine::kReferenceProvider};

}  // namespace

namespace engine {
std::span<const Provider> providers() { return kRows; }
}  // namespace engine

namespace {

using engine::NetworkDefinition;
using engine::Plan;
using engine::Precision;
using engine::ValueId;
using engine::test::SmallNetwork;

constexpr std::int64_t kHeight = 32;
constexpr std::int64_t kWidth = 48;

class LayerChecks : public testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    planted = 0;
    if (GetParam() == Precision::kInt8 &&
        engine::kernels::best_tiles(engine::DataType::kUint8, engine::kernels::cpu_features()) ==
            nullptr) {
      GTEST_SKIP() << "needs AVX2 or NEON";
    }
  }

  // Splits, concats in place, a residual, pooling and upsampling: values that have no memory of
  // their own are among them.
  static NetworkDefinition detector() {
    SmallNetwork net(kHeight, kWidth, 3);
    const ValueId stem = net.stem(16);
    const ValueId first = net.c2f(stem, 16, 8);
    const ValueId down = net.conv(first, {.in = 16, .out = 32, .kernel = 3, .stride = 2});
    const ValueId pooled = net.max_pool(down, 5);
    const ValueId up = net.upsample(net.conv(pooled, {.in = 32, .out = 16}));
    const ValueId joined = net.concat({up, first});
    const ValueId box = net.conv(joined, {.in = 32, .out = 24, .kernel = 3});
    return net.finish(
        {net.conv(box, {.in = 24, .out = 8, .activation = engine::Activation::kNone}),
         net.conv(down, {.in = 32, .out = 8, .activation = engine::Activation::kNone})});
  }

  static Plan plan(const std::string& provider) {
    Plan plan;
    plan.provider = provider;
    plan.precision = GetParam();
    plan.network = detector();
    EXPECT_TRUE(engine::infer_shapes(plan.network, 1));
    if (plan.precision == Precision::kInt8) {
      const auto source = [](std::size_t index, std::span<std::byte> to) -> Result<> {
        std::mt19937 random(static_cast<unsigned>(index));
        for (std::byte& byte : to) byte = static_cast<std::byte>(random() & 0xFF);
        return {};
      };
      const auto table =
          engine::calibrate(plan.network, engine::kLeastCalibrationPictures, source, {});
      EXPECT_TRUE(table) << table.error().message;
      EXPECT_TRUE(engine::quantize(plan.network, *table));
    } else if (plan.precision != Precision::kFp32) {
      EXPECT_TRUE(engine::use_half_precision(plan.network, plan.precision));
    }
    return plan;
  }

  static Result<LayerCheck> check(const Plan& plan) {
    const auto pixels = SmallNetwork::picture(kHeight, kWidth, 5);
    return check_layers(plan, {}, std::as_bytes(std::span(pixels)));
  }
  static std::vector<std::string> convolutions() {
    std::vector<std::string> names;
    for (const engine::Layer& layer : detector().layers) {
      if (layer.op == engine::OpType::kConv) names.push_back(layer.name);
    }
    return names;
  }
};

TEST_P(LayerChecks, ARightEngineHasNoLayerThatDiffers) {
  for (const char* provider : {"cpu", "reference", "faulty"}) {
    const auto checked = check(plan(provider));
    ASSERT_TRUE(checked) << checked.error().message;
    EXPECT_EQ(checked->judged, detector().layers.size());
    EXPECT_EQ(checked->inside, 0U);
    if (!checked->first) continue;
    ADD_FAILURE() << provider << ": " << checked->network.layers[checked->first->layer].name << " "
                  << checked->first->largest << " of " << checked->first->allowed << ", mean "
                  << checked->first->mean;
  }
}

TEST_P(LayerChecks, EachLayerThatIsMadeWrongIsTheOneNamed) {
  const Plan faulty = plan("faulty");
  for (const std::string& name : convolutions()) {
    SCOPED_TRACE(name);
    faulty_layer = name;
    planted = 1.5F;
    const auto checked = check(faulty);
    ASSERT_TRUE(checked) << checked.error().message;
    ASSERT_TRUE(checked->first);
    const LayerDifference& first = *checked->first;
    EXPECT_EQ(checked->network.layers[first.layer].name, name);
    EXPECT_FALSE(first.implementation.empty());
    EXPECT_EQ(first.position[1], 0) << "the channel of that bias";
    EXPECT_GT(first.largest, 0.3);
    EXPECT_LE(first.mean, first.largest);
    EXPECT_FALSE(first.not_a_number);
    EXPECT_EQ(first.dims, checked->network.value(first.value).dims);
    EXPECT_EQ(first.actual_values.size(), static_cast<std::size_t>(engine::volume(first.dims)));
    EXPECT_EQ(first.actual_values.size(), first.expected_values.size());
  }
}

TEST_P(LayerChecks, ANanIsFoundWhereItBegins) {
  if (GetParam() == Precision::kInt8) GTEST_SKIP() << "no code stands for NaN";
  faulty_layer = convolutions()[3];
  planted = std::numeric_limits<float>::quiet_NaN();
  const auto checked = check(plan("faulty"));
  ASSERT_TRUE(checked) << checked.error().message;
  ASSERT_TRUE(checked->first);
  EXPECT_EQ(checked->network.layers[checked->first->layer].name, faulty_layer);
  EXPECT_TRUE(checked->first->not_a_number);
  EXPECT_TRUE(std::isnan(checked->first->actual));
  EXPECT_FALSE(std::isnan(checked->first->expected));
}

TEST_P(LayerChecks, MarksLeaveTheEngineItsStorageAndItsKernels) {
  Plan marked = plan("cpu");
  const auto before = engine::load_engine(marked);
  ASSERT_TRUE(before) << before.error().message;
  std::vector<ValueId> values;
  for (const engine::Layer& layer : marked.network.layers) {
    if (layer.op == engine::OpType::kConv) values.push_back(layer.outputs[0]);
  }
  MarkedNetwork copy = mark_values(marked.network, values);
  EXPECT_EQ(copy.outputs.size(), values.size());
  EXPECT_EQ(copy.network.outputs.size(), values.size()) << "the two outputs are among them";
  marked.network = std::move(copy.network);
  const auto after = engine::load_engine(marked);
  ASSERT_TRUE(after) << after.error().message;
  std::map<std::string, std::string> kernels;
  for (const engine::LayerReport& step : (*after)->inspect().layers) {
    kernels.emplace(step.layer, step.implementation);
  }
  for (const engine::LayerReport& step : (*before)->inspect().layers) {
    EXPECT_EQ(kernels[step.layer], step.implementation) << step.layer;
  }
  // Whatever lay in 8 or 16 bits still does: not one bit of the results is another.
  const auto picture = SmallNetwork::picture(kHeight, kWidth, 7);
  const auto want = engine::test::run_engine(**before, {picture})[0];
  const auto got = engine::test::run_engine(**after, {picture})[0];
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(got[i], want[i]) << i;
}

TEST_P(LayerChecks, WhatIsCancelledEnds) {
  const auto pixels = SmallNetwork::picture(kHeight, kWidth, 5);
  const auto checked =
      check_layers(plan("cpu"), {}, std::as_bytes(std::span(pixels)), [] { return true; });
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kUnavailable);
}

INSTANTIATE_TEST_SUITE_P(Precisions, LayerChecks,
                         testing::Values(Precision::kFp32, Precision::kFp16, Precision::kBf16,
                                         Precision::kInt8),
                         [](const auto& precision) {
                           return std::string(to_string(precision.param));
                         });

}  // namespace
}  // namespace fovea
