// Each pass: the graph before, the graph after, the same numbers.
#include "nodes/detector/engine/passes/passes.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/graph_maker.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ints = std::vector<std::int64_t>;

// Runs one pass on a copy and checks that the result is valid and computes the same outputs.
NetworkDefinition apply(PassFunction pass, const NetworkDefinition& before, const TensorMap& inputs,
                        std::size_t changes, float tolerance = 0) {
  EXPECT_TRUE(before.validate());
  NetworkDefinition after = before;
  const auto outcome = pass(after, {});
  EXPECT_TRUE(outcome) << outcome.error().message;
  if (!outcome) return after;
  EXPECT_EQ(outcome->changes, changes);
  const auto valid = after.validate();
  EXPECT_TRUE(valid) << valid.error().message;
  const auto expected = reference::evaluate(before, inputs);
  const auto actual = reference::evaluate(after, inputs);
  EXPECT_TRUE(expected) << expected.error().message;
  EXPECT_TRUE(actual) << actual.error().message;
  if (!expected || !actual) return after;
  EXPECT_EQ(actual->size(), expected->size());
  for (const auto& [name, tensor] : *expected) {
    const auto found = actual->find(name);
    EXPECT_NE(found, actual->end()) << "no output '" << name << "'";
    if (found == actual->end()) continue;
    EXPECT_EQ(found->second.dims, tensor.dims);
    for (std::int64_t i = 0; i < tensor.size() && found->second.dims == tensor.dims; ++i) {
      EXPECT_NEAR(found->second.data<float>()[i], tensor.data<float>()[i], tolerance)
          << name << " " << i;
    }
  }
  return after;
}

TEST(FoldConstants, ComputesWhatDependsOnNoInput) {
  GraphMaker g;
  const ValueId x = g.input("x", {1, 2});
  const ValueId a =
      g.add(OpType::kAdd, {g.constant(floats({2}, {1, 2})), g.constant(floats({2}, {3, 4}))});
  const ValueId b = g.add(OpType::kMul, {a, g.constant(floats({}, {2}))});
  const NetworkDefinition before = g.finish({g.add(OpType::kAdd, {x, b})});
  const NetworkDefinition after = apply(fold_constants, before, {{"x", floats({1, 2}, {0, 1})}}, 2);
  EXPECT_EQ(op_list(after), "Add");
  EXPECT_EQ(after.value(b).constant->data<float>()[1], 12);
}

TEST(ResolveShapes, FreesReshapesFromTheBatch) {
  GraphMaker g;
  const ValueId x = g.input("x", {-1, 4, 3});
  const ValueId shape = g.add(OpType::kShape, {x});
  const ValueId batch = g.add(OpType::kGather, {shape, g.constant(ints({0}))});
  const ValueId middle = g.add(OpType::kGather, {shape, g.constant(ints({1}))});
  const ValueId half = g.add(OpType::kDiv, {middle, g.constant(ints({2}))});
  const ValueId target =
      g.add(OpType::kConcat, {batch, half, g.constant(ints({-1}))}, {{"axis", std::int64_t{0}}});
  const NetworkDefinition before = g.finish({g.add(OpType::kReshape, {x, target})});
  // Everything that is known alike for every batch becomes a constant: three inputs and the
  // Reshape.
  NetworkDefinition after = apply(resolve_shapes, before, {{"x", noise({1, 4, 3}, 1)}}, 3);
  EXPECT_EQ(constant_ints(after, after.layers.back().inputs[1]), (Ints{0, 2, 6}));
  ASSERT_TRUE(remove_dead_layers(after));
  EXPECT_EQ(op_list(after), "Reshape");
  const auto batch_of_three = reference::evaluate(after, {{"x", noise({3, 4, 3}, 2)}});
  ASSERT_TRUE(batch_of_three) << batch_of_three.error().message;
  EXPECT_EQ(batch_of_three->at("y0").dims, (Dims{3, 2, 6}));
}

TEST(ResolveShapes, SettlesResizesWhoseSizesNameTheBatch) {
  GraphMaker g;
  const ValueId x = g.input("x", {-1, 1, 2, 2});
  const ValueId shape = g.add(OpType::kShape, {x});
  const ValueId sizes = g.add(OpType::kMul, {shape, g.constant(ints({1, 1, 2, 2}))});
  const NetworkDefinition before =
      g.finish({g.add(OpType::kResize, {x, kNoValue, kNoValue, sizes})});
  NetworkDefinition after = apply(resolve_shapes, before, {{"x", noise({2, 1, 2, 2}, 1)}}, 1);
  ASSERT_TRUE(remove_dead_layers(after));
  EXPECT_EQ(op_list(after), "Resize");
}

TEST(RemoveIdentities, DropsWhatChangesNothing) {
  GraphMaker g;
  const ValueId x = g.input("x", {2, 3});
  ValueId y = g.add(OpType::kRelu, {x});
  y = g.add(OpType::kIdentity, {y});
  y = g.add(OpType::kCast, {y}, {{"to", static_cast<std::int64_t>(DataType::kFloat32)}});
  y = g.add(OpType::kReshape, {y, g.constant(ints({2, 3}))});
  y = g.add(OpType::kTranspose, {y}, {{"perm", Ints{0, 1}}});
  y = g.add(OpType::kConcat, {y});
  y = g.add(OpType::kSlice, {y, g.constant(ints({0})), g.constant(ints({9}))});
  y = g.add(OpType::kPad, {y, g.constant(ints({0, 0, 0, 0}))});
  const NetworkDefinition after =
      apply(remove_identities, g.finish({y}), {{"x", noise({2, 3}, 1)}}, 7);
  EXPECT_EQ(op_list(after), "Relu");
  EXPECT_EQ(after.value(after.outputs[0]).name, "y0");
}

TEST(RemoveIdentities, KeepsLookalikes) {
  GraphMaker g;
  const ValueId x = g.input("x", {2, 2});
  const ValueId backwards =
      g.add(OpType::kSlice, {x, g.constant(ints({1})), g.constant(ints({INT64_MIN})),
                             g.constant(ints({0})), g.constant(ints({-1}))});
  const ValueId turned = g.add(OpType::kTranspose, {backwards});
  const ValueId passed = g.add(OpType::kIdentity, {x});
  // x cannot give its name to an output, and one value cannot carry two output names.
  const ValueId copy = g.add(OpType::kIdentity, {turned});
  apply(remove_identities, g.finish({turned, passed, copy}), {{"x", noise({2, 2}, 1)}}, 0);
}

TEST(FuseLayerNormalization, OfWhatExportersSpellOut) {
  for (const bool product : {false, true}) {
    GraphMaker g;
    const ValueId x = g.input("x", {1, 2, 8});
    const auto mean = [&](ValueId of) {
      return g.add(OpType::kReduceMean, {of, g.constant(ints({-1}))});
    };
    const ValueId centred = g.add(OpType::kSub, {x, mean(x)});
    const ValueId squares = product ? g.add(OpType::kMul, {centred, centred})
                                    : g.add(OpType::kPow, {centred, g.constant(floats({}, {2}))});
    const ValueId sum = g.add(OpType::kAdd, {mean(squares), g.constant(floats({}, {1e-5F}))});
    ValueId y = g.add(OpType::kDiv, {centred, g.add(OpType::kSqrt, {sum})});
    if (product) {
      y = g.add(OpType::kMul, {y, g.constant(noise({8}, 3))});
      y = g.add(OpType::kAdd, {g.constant(noise({8}, 4)), y});
    }
    NetworkDefinition after =
        apply(fuse_layer_normalization, g.finish({y}), {{"x", noise({1, 2, 8}, 1)}}, 1, 1e-5F);
    ASSERT_TRUE(remove_dead_layers(after));
    EXPECT_EQ(op_list(after), "LayerNormalization");
  }
}

TEST(FuseLayerNormalization, KeepsLookalikes) {
  GraphMaker g;
  const ValueId x = g.input("x", {1, 2, 8});
  const auto mean = [&](ValueId of, std::int64_t axis) {
    return g.add(OpType::kReduceMean, {of, g.constant(ints({axis}))});
  };
  const auto normalised = [&](ValueId subtracted, std::int64_t axis) {
    const ValueId centred = g.add(OpType::kSub, {x, subtracted});
    const ValueId squares = g.add(OpType::kMul, {centred, centred});
    const ValueId sum = g.add(OpType::kAdd, {mean(squares, axis), g.constant(floats({}, {1e-5F}))});
    return g.add(OpType::kDiv, {centred, g.add(OpType::kSqrt, {sum})});
  };
  const ValueId another = g.add(OpType::kRelu, {x});
  const NetworkDefinition before =
      g.finish({normalised(mean(another, -1), -1), normalised(mean(x, 1), 1)});
  apply(fuse_layer_normalization, before, {{"x", noise({1, 2, 8}, 1)}}, 0);
}

TEST(FuseGelu, InEitherOrder) {
  for (const bool half_first : {false, true}) {
    GraphMaker g;
    const ValueId x = g.input("x", {4, 5});
    const auto number = [&](float value) { return g.constant(floats({}, {value})); };
    const ValueId erf = g.add(OpType::kErf, {g.add(OpType::kDiv, {x, number(1.4142135F)})});
    const ValueId sum = g.add(OpType::kAdd, {erf, number(1)});
    const ValueId y = half_first
                          ? g.add(OpType::kMul, {g.add(OpType::kMul, {x, number(0.5F)}), sum})
                          : g.add(OpType::kMul, {g.add(OpType::kMul, {x, sum}), number(0.5F)});
    NetworkDefinition after =
        apply(fuse_gelu, g.finish({y}), {{"x", noise({4, 5}, 1, 3)}}, 1, 1e-6F);
    ASSERT_TRUE(remove_dead_layers(after));
    EXPECT_EQ(op_list(after), "Gelu");
  }
}

TEST(RemoveDeadLayers, KeepsWhatOutputsNeed) {
  GraphMaker g;
  const ValueId x = g.input("x", {2});
  const ValueId used = g.add(OpType::kAdd, {x, g.constant(floats({2}, {1, 2}))});
  const ValueId unused =
      g.add(OpType::kExp, {g.add(OpType::kMul, {x, g.constant(floats({2}, {3, 4}))})});
  (void)unused;
  const NetworkDefinition after = apply(
      remove_dead_layers, g.finish({g.add(OpType::kRelu, {used})}), {{"x", noise({2}, 1)}}, 2);
  EXPECT_EQ(op_list(after), "Add,Relu");
  EXPECT_EQ(after.values.size(), 4U);
}

ValueId normalize(GraphMaker& g, ValueId x, std::int64_t channels) {
  Tensor variance = noise({channels}, 5);
  for (std::int64_t i = 0; i < channels; ++i)
    variance.data<float>()[i] = std::abs(variance.data<float>()[i]);
  return g.add(OpType::kBatchNormalization,
               {x, g.constant(noise({channels}, 6)), g.constant(noise({channels}, 7)),
                g.constant(noise({channels}, 8)), g.constant(variance)},
               {{"epsilon", 1e-3F}});
}

TEST(FoldBatchNormalization, FoldsIntoEveryKindOfConvolution) {
  struct Case {
    OpType op;
    Dims weights;
    std::int64_t group;
    bool bias;
  };
  for (const Case& c :
       {Case{OpType::kConv, {6, 4, 3, 3}, 1, true}, Case{OpType::kConv, {6, 2, 3, 3}, 2, false},
        Case{OpType::kConvTranspose, {4, 6, 2, 2}, 1, true},
        Case{OpType::kConvTranspose, {4, 3, 2, 2}, 2, false}}) {
    GraphMaker g;
    const ValueId x = g.input("x", {1, 4, 5, 5});
    std::vector<ValueId> inputs = {x, g.constant(noise(c.weights, 1))};
    if (c.bias) inputs.push_back(g.constant(noise({6}, 2)));
    const ValueId y = normalize(g, g.add(c.op, inputs, {{"group", c.group}}), 6);
    const NetworkDefinition after =
        apply(fold_batch_normalization, g.finish({y}), {{"x", noise({1, 4, 5, 5}, 3)}}, 1, 1e-3F);
    EXPECT_EQ(op_list(after), to_string(c.op));
    EXPECT_THAT(after.layers[0].fused, ElementsAre("BatchNormalization1"));
  }
}

TEST(FoldBatchNormalization, LeavesSharedConvolutionsAlone) {
  GraphMaker g;
  const ValueId conv = g.conv(g.input("x", {1, 2, 3, 3}), 2, 2);
  const ValueId y = normalize(g, conv, 2);
  apply(fold_batch_normalization, g.finish({y, conv}), {{"x", noise({1, 2, 3, 3}, 3)}}, 0);
}

// input [2, 4, 3, 5] through one ConvTranspose.
NetworkDefinition transposed(const Dims& weights, std::map<std::string, Attribute> attributes,
                             bool bias = true) {
  GraphMaker g;
  std::vector<ValueId> inputs = {g.input("x", {2, 4, 3, 5}), g.constant(noise(weights, 1))};
  if (bias) inputs.push_back(g.constant(noise({weights[1]}, 2)));
  return g.finish({g.add(OpType::kConvTranspose, inputs, std::move(attributes))});
}

TEST(UnfoldTransposedConvolutions, MovesWindowsThatDoNotOverlap) {
  for (const auto& [kernel, bias] : {std::pair(Ints{2, 2}, true), std::pair(Ints{2, 3}, false)}) {
    const NetworkDefinition after =
        apply(unfold_transposed_convolutions,
              transposed({4, 6, kernel[0], kernel[1]}, {{"strides", kernel}}, bias),
              {{"x", noise({2, 4, 3, 5}, 3)}}, 1, 1e-5F);
    EXPECT_EQ(op_list(after), "Conv,Reshape,Transpose,Reshape");
  }
}

TEST(UnfoldTransposedConvolutions, FollowsAnOpenSize) {
  NetworkDefinition network = transposed({4, 6, 2, 3}, {{"strides", Ints{2, 3}}});
  network.value(network.inputs[0]).dims = {-1, 4, -1, -1};
  for (const Dims& size : {Dims{1, 4, 3, 5}, Dims{2, 4, 8, 2}}) {
    network.profile = {"x", {1, 4, 2, 2}, size, {2, 4, 8, 8}};
    apply(unfold_transposed_convolutions, network, {{"x", noise(size, 3)}}, 1, 1e-5F);
  }
}

TEST(UnfoldTransposedConvolutions, LeavesOthersAlone) {
  const NetworkDefinition others[] = {
      transposed({4, 6, 3, 3}, {{"strides", Ints{2, 2}}}),
      transposed({4, 6, 2, 2}, {{"strides", Ints{3, 3}}}),
      transposed({4, 6, 2, 2}, {{"strides", Ints{2, 2}}, {"pads", Ints{1, 0, 0, 0}}}),
      transposed({4, 6, 2, 2}, {{"strides", Ints{2, 2}}, {"output_padding", Ints{1, 1}}}),
      transposed({4, 3, 2, 2}, {{"strides", Ints{2, 2}}, {"group", std::int64_t{2}}}, false)};
  for (const NetworkDefinition& network : others) {
    apply(unfold_transposed_convolutions, network, {{"x", noise({2, 4, 3, 5}, 3)}}, 0);
  }
}

// x, [rows, 4] made of an input of [2, 4, 1, 1], times constants.
NetworkDefinition dense(const Tensor& weights, std::map<std::string, Attribute> attributes,
                        std::optional<Tensor> bias, const Dims& rows = {0, 4}) {
  GraphMaker g;
  const ValueId x = g.input("x", {2, 4, 1, 1});
  const ValueId row = g.add(OpType::kReshape, {x, g.constant(ints(rows))});
  std::vector<ValueId> inputs = {row, g.constant(weights)};
  if (bias) inputs.push_back(g.constant(*bias));
  return g.finish({g.add(OpType::kGemm, inputs, std::move(attributes))});
}

TEST(ConvolveDenseLayers, TakesEitherOrderOfWeights) {
  const TensorMap x = {{"x", noise({2, 4, 1, 1}, 3)}};
  const std::map<std::string, Attribute> turned = {{"transB", std::int64_t{1}}};
  for (const NetworkDefinition& network : {dense(noise({4, 6}, 1), {}, noise({6}, 2)),
                                           dense(noise({6, 4}, 1), turned, noise({1, 6}, 2)),
                                           dense(noise({6, 4}, 1), turned, std::nullopt)}) {
    const NetworkDefinition after = apply(convolve_dense_layers, network, x, 1, 1e-6F);
    EXPECT_EQ(op_list(after), "Reshape,Reshape,Conv,Reshape");
  }
}

TEST(ConvolveDenseLayers, LeavesOthersAlone) {
  const TensorMap x = {{"x", noise({2, 4, 1, 1}, 3)}};
  for (const NetworkDefinition& network :
       {dense(noise({4, 6}, 1), {{"alpha", 2.0F}}, noise({6}, 2)),
        dense(noise({4, 6}, 1), {}, noise({2, 6}, 2)),
        // Four rows of two pictures.
        dense(noise({2, 6}, 1), {}, noise({6}, 2), {4, 2})}) {
    apply(convolve_dense_layers, network, x, 0);
  }
}

TEST(FuseSilu, TakesBothOrdersAndKeepsASharedSigmoid) {
  GraphMaker g;
  const ValueId x = g.input("x", {4});
  const ValueId first = g.add(OpType::kMul, {x, g.add(OpType::kSigmoid, {x})});
  const ValueId gate = g.add(OpType::kSigmoid, {first});
  const ValueId second = g.add(OpType::kMul, {gate, first});
  const ValueId other = g.add(OpType::kMul, {x, gate});
  const NetworkDefinition after =
      apply(fuse_silu, g.finish({second, other}), {{"x", noise({4}, 1, 3)}}, 2, 1e-6F);
  EXPECT_EQ(op_list(after), "Silu,Sigmoid,Silu,Mul");
  EXPECT_THAT(after.layers[0].fused, ElementsAre("Sigmoid0"));
}

TEST(FuseConvolutions, TakesBiasActivationAndResidual) {
  struct Case {
    OpType op;
    Activation activation;
  };
  for (const Case& c :
       {Case{OpType::kSilu, Activation::kSilu}, Case{OpType::kRelu, Activation::kRelu},
        Case{OpType::kLeakyRelu, Activation::kLeakyRelu},
        Case{OpType::kSigmoid, Activation::kSigmoid},
        Case{OpType::kHardSwish, Activation::kHardSwish}}) {
    GraphMaker g;
    const ValueId x = g.input("x", {2, 3, 4, 4});
    ValueId y = g.conv(x, 3, 3, 3);
    y = g.add(OpType::kAdd, {g.constant(noise({1, 3, 1, 1}, 9)), y});
    y = g.add(c.op, {y},
              c.op == OpType::kLeakyRelu ? std::map<std::string, Attribute>{{"alpha", 0.3F}}
                                         : std::map<std::string, Attribute>{});
    y = g.add(OpType::kAdd, {x, y});
    const NetworkDefinition after =
        apply(fuse_convolutions, g.finish({y}), {{"x", noise({2, 3, 4, 4}, 1, 3)}}, 3, 1e-5F);
    ASSERT_EQ(op_list(after), "Conv") << to_string(c.op);
    const Layer& conv = after.layers[0];
    EXPECT_EQ(conv.activation, c.activation);
    EXPECT_EQ(conv.residual, x);
    EXPECT_EQ(conv.fused.size(), 3U);
    if (c.op == OpType::kLeakyRelu) {
      EXPECT_EQ(conv.activation_alpha, 0.3F);
    }
  }
}

TEST(FuseConvolutions, KeepsTheOrderOfActivationAndResidual) {
  // Relu(conv + x) is not Relu(conv) + x.
  GraphMaker g;
  const ValueId x = g.input("x", {1, 2, 3, 3});
  const ValueId y = g.add(OpType::kRelu, {g.add(OpType::kAdd, {g.conv(x, 2, 2), x})});
  const NetworkDefinition after =
      apply(fuse_convolutions, g.finish({y}), {{"x", noise({1, 2, 3, 3}, 1, 3)}}, 1, 1e-5F);
  EXPECT_EQ(op_list(after), "Conv,Relu");
  EXPECT_EQ(after.layers[0].activation, Activation::kNone);
}

TEST(FuseConvolutions, LeavesWhatOthersRead) {
  GraphMaker g;
  const ValueId x = g.input("x", {1, 2, 3, 3});
  const ValueId conv = g.conv(x, 2, 2);
  const ValueId wide = g.conv(x, 2, 2);
  const ValueId doubled = g.conv(x, 2, 2);
  const std::vector<ValueId> outputs = {
      g.add(OpType::kRelu, {conv}), conv,
      g.add(OpType::kAdd, {wide, g.constant(noise({3}, 4))}),  // along the width: no bias
      g.add(OpType::kAdd, {doubled, doubled}),                 // twice itself: no residual
  };
  apply(fuse_convolutions, g.finish(outputs), {{"x", noise({1, 2, 3, 3}, 1)}}, 0);
}

TEST(FuseConvolutions, FollowsChainsOfResiduals) {
  GraphMaker g;
  const ValueId x = g.input("x", {1, 2, 3, 3});
  ValueId y = x;
  for (int i = 0; i < 3; ++i)
    y = g.add(OpType::kAdd, {y, g.add(OpType::kRelu, {g.conv(y, 2, 2, 3)})});
  const NetworkDefinition after =
      apply(fuse_convolutions, g.finish({y}), {{"x", noise({1, 2, 3, 3}, 1)}}, 6, 1e-4F);
  EXPECT_EQ(op_list(after), "Conv,Conv,Conv");
}

// An exporter's "dynamic" model whose graph names one picture all the same.
TEST(ResolveShapes, AnOpenBatchThatTheGraphFixesIsOne) {
  GraphMaker g;
  const ValueId x = g.input("images", {-1, 3, 4, 4});
  const ValueId y = g.conv(x, 3, 2);
  NetworkDefinition network =
      g.finish({g.add(OpType::kReshape, {y, g.constant(ints({1, 2, 16}))})});
  const auto outcome = resolve_shapes(network);
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(network.value(network.inputs[0]).dims, (Dims{1, 3, 4, 4}));
  EXPECT_THAT(outcome->note, HasSubstr("one picture at a time"));
  const auto lowered = lower(g.network());
  ASSERT_TRUE(lowered) << lowered.error().message;
}

TEST(ResolveShapes, AGraphForAnotherBatchThanItsInputSaysIsRefusedWithTheWayOut) {
  GraphMaker g;
  const ValueId x = g.input("images", {-1, 3, 4, 4});
  const ValueId y = g.conv(x, 3, 2);
  NetworkDefinition network =
      g.finish({g.add(OpType::kReshape, {y, g.constant(ints({4, 2, 16}))})});
  const auto outcome = resolve_shapes(network);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(outcome.error().message, HasSubstr("Reshape1"));
  EXPECT_THAT(outcome.error().message, HasSubstr("export the model with a batch of 1"));
}

// The picture as the engine gets it, u8 NHWC, and as the model wants it, f32 NCHW.
std::pair<Tensor, Tensor> picture(std::int64_t batch, std::int64_t height, std::int64_t width,
                                  float scale) {
  Tensor image = Tensor::make(DataType::kUint8, {batch, height, width, 3});
  Tensor planar = Tensor::make(DataType::kFloat32, {batch, 3, height, width});
  for (std::int64_t i = 0; i < image.size(); ++i) {
    const auto value = static_cast<std::uint8_t>((i * 7919 + i / 97 * 31) % 256);
    image.data<std::uint8_t>()[i] = value;
    const std::int64_t plane = height * width;
    const std::int64_t pixel = i / 3;
    planar.data<float>()[(pixel / plane * 3 + i % 3) * plane + pixel % plane] =
        static_cast<float>(value) * scale;
  }
  return {image, planar};
}

float largest_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.dims, b.dims);
  float largest = 0;
  for (std::int64_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(a.data<float>()[i] - b.data<float>()[i]));
  }
  return largest;
}

TEST(FoldImageInput, PutsTheScaleIntoConvolutionsWithPadding) {
  GraphMaker g;
  const ValueId x = g.input("images", {-1, 3, 5, 6});
  const NetworkDefinition before = g.finish({g.conv(x, 3, 4, 3), g.conv(x, 3, 2, 1)});
  NetworkDefinition after = before;
  const auto outcome = fold_image_input(after);
  ASSERT_TRUE(outcome) << outcome.error().message;
  ASSERT_TRUE(after.validate());
  EXPECT_EQ(op_list(after), "ImageInput,Conv,Conv");
  EXPECT_EQ(after.value(after.inputs[0]).dims, (Dims{-1, 5, 6, 3}));
  const auto [image, planar] = picture(2, 5, 6, 1.0F / 255);
  const auto expected = reference::evaluate(before, {{"images", planar}});
  const auto actual = reference::evaluate(after, {{"images", image}});
  ASSERT_TRUE(expected);
  ASSERT_TRUE(actual) << actual.error().message;
  EXPECT_LT(largest_difference(expected->at("y0"), actual->at("y0")), 1e-5F);
  EXPECT_LT(largest_difference(expected->at("y1"), actual->at("y1")), 1e-5F);
}

TEST(FoldImageInput, ScalesExplicitlyWhereOthersReadTheImage) {
  GraphMaker g;
  const ValueId x = g.input("images", {1, 3, 4, 4});
  const NetworkDefinition before =
      g.finish({g.conv(g.add(OpType::kRelu, {x}), 3, 2), g.conv(x, 3, 2)});
  NetworkDefinition after = before;
  ASSERT_TRUE(fold_image_input(after));
  ASSERT_TRUE(after.validate());
  EXPECT_EQ(op_list(after), "ImageInput,Mul,Relu,Conv,Conv");
  const auto [image, planar] = picture(1, 4, 4, 1.0F / 255);
  const auto expected = reference::evaluate(before, {{"images", planar}});
  const auto actual = reference::evaluate(after, {{"images", image}});
  ASSERT_TRUE(actual) << actual.error().message;
  EXPECT_LT(largest_difference(expected->at("y0"), actual->at("y0")), 1e-5F);
}

TEST(FoldImageInput, LeavesAnIntegerModelItsOwnScale) {
  GraphMaker g;
  const ValueId x = g.input("images", {1, 3, 2, 2}, DataType::kUint8);
  const ValueId f =
      g.add(OpType::kCast, {x}, {{"to", static_cast<std::int64_t>(DataType::kFloat32)}});
  const NetworkDefinition before =
      g.finish({g.conv(g.add(OpType::kDiv, {f, g.constant(floats({}, {255}))}), 3, 2)});
  const auto after = lower(before);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(op_list(*after), "ImageInput,Div,Conv");
  const auto [image, planar] = picture(1, 2, 2, 1.0F);
  Tensor integers = Tensor::make(DataType::kUint8, planar.dims);
  for (std::int64_t i = 0; i < planar.size(); ++i) {
    integers.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(planar.data<float>()[i]);
  }
  const auto expected = reference::evaluate(before, {{"images", integers}});
  const auto actual = reference::evaluate(*after, {{"images", image}});
  ASSERT_TRUE(expected);
  ASSERT_TRUE(actual);
  EXPECT_LT(largest_difference(expected->at("y0"), actual->at("y0")), 1e-6F);
}

TEST(FoldImageInput, RefusesWhatIsNoImage) {
  for (const Dims& dims : {Dims{1, 4, 8, 8}, Dims{1, 3, 8}, Dims{}}) {
    GraphMaker g;
    const auto lowered = lower(g.finish({g.add(OpType::kRelu, {g.input("x", dims)})}));
    ASSERT_FALSE(lowered);
    EXPECT_EQ(lowered.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(lowered.error().message, HasSubstr("[batch, 3, height, width]"));
  }
  GraphMaker g;
  const ValueId sum = g.add(OpType::kAdd, {g.input("a", {1, 3, 2, 2}), g.input("b", {1, 3, 2, 2})});
  const auto lowered = lower(g.finish({sum}));
  ASSERT_FALSE(lowered);
  EXPECT_THAT(lowered.error().message, HasSubstr("2 inputs"));
}

TEST(ResolveInputSize, TakesOptionsThenMetadata) {
  GraphMaker g;
  NetworkDefinition open = g.finish({g.conv(g.input("images", {-1, 3, -1, -1}), 3, 2)});
  const auto missing = lower(open);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("input height is 0; the model leaves it open"));
  open.metadata["imgsz"] = "[48, 32]";
  auto lowered = lower(open);
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->value(lowered->inputs[0]).dims, (Dims{-1, 48, 32, 3}));
  lowered = lower(open, {.input_height = 16, .input_width = 24});
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->value(lowered->inputs[0]).dims, (Dims{-1, 16, 24, 3}));

  GraphMaker fixed;
  const NetworkDefinition network =
      fixed.finish({fixed.conv(fixed.input("images", {1, 3, 8, 8}), 3, 2)});
  EXPECT_TRUE(lower(network, {.input_height = 8, .input_width = 8}));
  const auto wrong = lower(network, {.input_width = 16});
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("input width is 16; the model fixes it to 8"));
}

TEST(FreeBatch, OpensABatchOnlyWhereImagesStayApart) {
  GraphMaker good;
  const ValueId x = good.input("images", {4, 3, 2, 2});
  const ValueId flat =
      good.add(OpType::kReshape, {good.conv(x, 3, 2), good.constant(ints({4, 8}))});
  const auto lowered = lower(good.finish({good.add(OpType::kSoftmax, {flat})}));
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->value(lowered->inputs[0]).dims[0], -1);
  EXPECT_EQ(lowered->value(lowered->outputs[0]).dims, (Dims{-1, 8}));

  const std::vector<std::function<ValueId(GraphMaker&, ValueId)>> mixing = {
      [](GraphMaker& g, ValueId v) {
        return g.add(OpType::kSoftmax, {v}, {{"axis", std::int64_t{0}}});
      },
      [](GraphMaker& g, ValueId v) {
        return g.add(OpType::kReduceMean, {v, g.constant(ints({0}))});
      },
      [](GraphMaker& g, ValueId v) { return g.add(OpType::kTranspose, {v}); },
      [](GraphMaker& g, ValueId v) {
        return g.add(OpType::kReshape, {v, g.constant(ints({8, -1}))});
      },
      [](GraphMaker& g, ValueId v) {
        return g.add(OpType::kAdd, {v, g.constant(noise({4, 1, 1, 1}, 1))});
      },
      [](GraphMaker& g, ValueId v) {
        return g.add(OpType::kConcat, {v, v}, {{"axis", std::int64_t{0}}});
      },
      [](GraphMaker& g, ValueId v) {
        return g.add(OpType::kGather, {v, g.constant(ints({0, 1, 2, 3}))});
      },
  };
  for (std::size_t i = 0; i < mixing.size(); ++i) {
    GraphMaker g;
    const ValueId y = mixing[i](g, g.conv(g.input("images", {4, 3, 2, 2}), 3, 2));
    const auto refused = lower(g.finish({y}));
    ASSERT_FALSE(refused) << i;
    EXPECT_THAT(refused.error().message, HasSubstr("the batch is fixed to 4"));
  }
}

TEST(Lowering, ReportsEveryPass) {
  GraphMaker g;
  const ValueId x = g.input("images", {-1, 3, 4, 4});
  LoweringReport report;
  ASSERT_TRUE(lower(g.finish({g.silu(g.conv(x, 3, 2, 3))}), {}, &report));
  EXPECT_EQ(report.layers_before, 3U);
  ASSERT_EQ(report.passes.size(), all_passes().size());
  for (std::size_t i = 0; i < report.passes.size(); ++i)
    EXPECT_EQ(report.passes[i].name, all_passes()[i].name);
  EXPECT_EQ(report.passes.back().layers, 2U);
}

}  // namespace
}  // namespace fovea::engine::test
