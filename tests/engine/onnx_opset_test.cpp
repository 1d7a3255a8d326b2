// Old and new opsets: equal operators in their spelling give equal networks.
#include <gmock/gmock.h>

#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"
#include "tests/engine/graph_maker.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

struct Outcome {
  Dims dims;
  Floats values;
};
// The model's output y for the input x.
Outcome run(const OnnxWriter& writer, const Tensor& x) {
  const auto network = parse_onnx(writer.bytes(), {});
  EXPECT_TRUE(network) << network.error().message;
  if (!network) return {};
  const auto outputs = reference::evaluate(*network, {{"x", x}});
  EXPECT_TRUE(outputs) << outputs.error().message;
  if (!outputs) return {};
  const Tensor& y = outputs->at("y");
  return {y.dims, {y.data<float>(), y.data<float>() + y.size()}};
}

const Dims kShape{1, 2, 3, 4};

OnnxWriter model(std::int64_t opset) {
  OnnxWriter w(opset);
  w.input("x", kShape).output("y");
  return w;
}

void expect_equal(const OnnxWriter& old, const OnnxWriter& recent) {
  const Tensor x = noise(kShape, 7, 3);
  const Outcome expected = run(recent, x);
  const Outcome actual = run(old, x);
  ASSERT_FALSE(expected.values.empty());
  EXPECT_EQ(actual.dims, expected.dims);
  EXPECT_THAT(actual.values, ElementsAreArray(expected.values));
}

TEST(OnnxOpset, ClipsEndsWereAttributesBeforeEleven) {
  OnnxWriter recent = model(17);
  recent.floats("low", {}, {-1}).floats("high", {}, {0.5});
  recent.node("Clip", {"x", "low", "high"}, {"y"});
  for (const std::int64_t opset : {8, 9, 10}) {
    OnnxWriter old = model(opset);
    old.node("Clip", {"x"}, {"y"}, {{"min", -1.0F}, {"max", 0.5F}});
    expect_equal(old, recent);
  }
  OnnxWriter lower = model(10);
  lower.node("Clip", {"x"}, {"y"}, {{"max", 0.5F}});
  OnnxWriter recent_lower = model(17);
  recent_lower.floats("high", {}, {0.5}).node("Clip", {"x", "", "high"}, {"y"});
  expect_equal(lower, recent_lower);
}

TEST(OnnxOpset, GridSampleWasCalledBilinearBeforeTwenty) {
  for (const auto& [opset, mode] : {std::pair{16, "bilinear"}, {16, ""}, {20, "linear"}}) {
    OnnxWriter w = model(opset);
    w.floats("grid", {1, 1, 2, 2}, {0, 0, 0.5, 0.5});
    if (std::string(mode).empty()) {
      w.node("GridSample", {"x", "grid"}, {"y"});
    } else {
      w.node("GridSample", {"x", "grid"}, {"y"}, {{"mode", std::string(mode)}});
    }
    const auto network = parse_onnx(w.bytes(), {});
    ASSERT_TRUE(network) << network.error().message;
    EXPECT_EQ(network->layers[0].string_attribute("mode", ""), "linear") << opset << mode;
  }
  OnnxWriter cubic = model(16);
  cubic.floats("grid", {1, 1, 2, 2}, {0, 0, 0.5, 0.5});
  cubic.node("GridSample", {"x", "grid"}, {"y"}, {{"mode", std::string("bicubic")}});
  const auto refused = parse_onnx(cubic.bytes(), {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("mode is 'bicubic'; it must be linear, bilinear, nearest"));
  OnnxWriter padded = model(16);
  padded.floats("grid", {1, 1, 2, 2}, {0, 0, 0.5, 0.5});
  padded.node("GridSample", {"x", "grid"}, {"y"}, {{"padding_mode", std::string("wrap")}});
  const auto unknown = parse_onnx(padded.bytes(), {});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message,
              HasSubstr("padding_mode is 'wrap'; it must be zeros, border, reflection"));
}

TEST(OnnxOpset, SlicesBoundsWereAttributesBeforeTen) {
  OnnxWriter recent = model(17);
  recent.ints("starts", {1, 0}).ints("ends", {3, -1}).ints("axes", {2, 3});
  recent.node("Slice", {"x", "starts", "ends", "axes"}, {"y"});
  OnnxWriter old = model(9);
  old.node("Slice", {"x"}, {"y"},
           {{"starts", Ints{1, 0}}, {"ends", Ints{3, -1}}, {"axes", Ints{2, 3}}});
  expect_equal(old, recent);
}

TEST(OnnxOpset, PadsAmountsWereAttributesBeforeEleven) {
  OnnxWriter recent = model(17);
  recent.ints("pads", {0, 0, 1, 2, 0, 0, 0, 1}).floats("fill", {}, {4});
  recent.node("Pad", {"x", "pads", "fill"}, {"y"});
  OnnxWriter old = model(10);
  old.node("Pad", {"x"}, {"y"}, {{"pads", Ints{0, 0, 1, 2, 0, 0, 0, 1}}, {"value", 4.0F}});
  expect_equal(old, recent);
}

TEST(OnnxOpset, ResizeAndUpsampleBeforeElevenRoundDownwardsAsTheyGrow) {
  OnnxWriter recent = model(17);
  recent.floats("scales", {4}, {1, 1, 2, 2});
  recent.node("Resize", {"x", "", "scales"}, {"y"},
              {{"mode", std::string("nearest")},
               {"coordinate_transformation_mode", std::string("asymmetric")},
               {"nearest_mode", std::string("floor")}});
  OnnxWriter resize = model(10);
  resize.floats("scales", {4}, {1, 1, 2, 2});
  resize.node("Resize", {"x", "scales"}, {"y"}, {{"mode", std::string("nearest")}});
  expect_equal(resize, recent);
  OnnxWriter nine = model(9);
  nine.floats("scales", {4}, {1, 1, 2, 2});
  nine.node("Upsample", {"x", "scales"}, {"y"}, {{"mode", std::string("nearest")}});
  expect_equal(nine, recent);
  OnnxWriter eight = model(8);
  eight.node("Upsample", {"x"}, {"y"}, {{"scales", Floats{1, 1, 2, 2}}});
  expect_equal(eight, recent);

  OnnxWriter linear = model(17);
  linear.floats("scales", {4}, {1, 1, 2, 2});
  linear.node("Resize", {"x", "", "scales"}, {"y"},
              {{"mode", std::string("linear")},
               {"coordinate_transformation_mode", std::string("asymmetric")}});
  OnnxWriter old_linear = model(10);
  old_linear.floats("scales", {4}, {1, 1, 2, 2});
  old_linear.node("Resize", {"x", "scales"}, {"y"}, {{"mode", std::string("linear")}});
  expect_equal(old_linear, linear);
}

// 4 pixels become 3 at scale 0.75: at 0, 1.33 and 2.67, which were rounded up.
TEST(OnnxOpset, ResizeBeforeElevenRoundsUpwardsAsItShrinks) {
  OnnxWriter w = model(10);
  w.floats("scales", {4}, {1, 1, 1, 0.75});
  w.node("Resize", {"x", "scales"}, {"y"}, {{"mode", std::string("nearest")}});
  const Tensor x = noise(kShape, 7, 3);
  const Outcome y = run(w, x);
  ASSERT_EQ(y.dims, (Dims{1, 2, 3, 3}));
  EXPECT_EQ(y.values[0], x.data<float>()[0]);
  EXPECT_EQ(y.values[1], x.data<float>()[2]);
  EXPECT_EQ(y.values[2], x.data<float>()[3]);
}

TEST(OnnxOpset, ReductionsSqueezesSplitsAndSoftmaxKeepTheirOldMeaning) {
  OnnxWriter old = model(9);
  old.node("Softmax", {"x"}, {"s"}, {{"axis", std::int64_t{2}}});  // over axes 2 and 3 together
  old.node("ReduceMean", {"s"}, {"m"}, {{"axes", Ints{1}}, {"keepdims", std::int64_t{0}}});
  old.node("Unsqueeze", {"m"}, {"u"}, {{"axes", Ints{0}}});
  old.node("Squeeze", {"u"}, {"v"}, {{"axes", Ints{0}}});
  old.node("Split", {"v"}, {"y", "rest"}, {{"axis", std::int64_t{1}}, {"split", Ints{1, 2}}});
  OnnxWriter recent = model(18);
  recent.ints("flat", {1, 2, 12}).ints("shape", {1, 2, 3, 4}).ints("one", {1}).ints("zero", {0});
  recent.ints("parts", {1, 2});
  recent.node("Reshape", {"x", "flat"}, {"f"});
  recent.node("Softmax", {"f"}, {"g"}, {{"axis", std::int64_t{2}}});
  recent.node("Reshape", {"g", "shape"}, {"s"});
  recent.node("ReduceMean", {"s", "one"}, {"m"}, {{"keepdims", std::int64_t{0}}});
  recent.node("Split", {"m", "parts"}, {"y", "rest"}, {{"axis", std::int64_t{1}}});
  expect_equal(old, recent);
}

TEST(OnnxOpset, ASpellingThatAnOpsetDoesNotHaveIsRefusedByNode) {
  const auto message = [](const OnnxWriter& w) {
    const auto network = parse_onnx(w.bytes(), {});
    return network ? "accepted" : network.error().message;
  };
  OnnxWriter clip = model(11);
  clip.node("Clip", {"x"}, {"y"}, {{"min", 0.0F}}, "/clip");
  EXPECT_THAT(message(clip), AllOf(HasSubstr("/clip"), HasSubstr("attribute 'min'")));
  OnnxWriter slice = model(9);
  slice.ints("a", {0}).node("Slice", {"x", "a", "a"}, {"y"}, {}, "/slice");
  EXPECT_THAT(message(slice),
              AllOf(HasSubstr("/slice"), HasSubstr("3 inputs"), HasSubstr("opset 9")));
  OnnxWriter simple = model(17);
  simple.floats("s", {4}, {1, 1, 2, 2});
  simple.node("Resize", {"x", "", "s"}, {"y"}, {{"nearest_mode", std::string("simple")}}, "/up");
  EXPECT_THAT(message(simple), HasSubstr("nearest_mode is 'simple'"));
  OnnxWriter spatial = model(8);
  spatial.floats("c", {2}, {1, 1});
  spatial.node("BatchNormalization", {"x", "c", "c", "c", "c"}, {"y"},
               {{"spatial", std::int64_t{0}}});
  EXPECT_THAT(message(spatial), HasSubstr("spatial is '0'"));
  OnnxWriter upsample = model(10);
  upsample.floats("s", {4}, {1, 1, 2, 2}).node("Upsample", {"x", "s"}, {"y"}, {}, "/up");
  EXPECT_THAT(message(upsample), HasSubstr("Upsample ('/up')"));
}

TEST(OnnxOpset, NewOpsetsMeanTheSame) {
  OnnxWriter recent = model(22);
  recent.node("Sigmoid", {"x"}, {"s"}).node("Mul", {"x", "s"}, {"y"});
  for (const std::int64_t opset : {23, 24, 25, 26}) {
    OnnxWriter later = model(opset);
    later.node("Sigmoid", {"x"}, {"s"}).node("Mul", {"x", "s"}, {"y"});
    expect_equal(later, recent);
  }
}

}  // namespace
}  // namespace fovea::engine::test
