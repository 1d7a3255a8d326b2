// A model that suppresses boxes itself loses its suppression, and nothing else does.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/onnx/summary.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/onnx_writer.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::HasSubstr;
using Ints = std::vector<std::int64_t>;

struct Suppressing {
  bool raw_scores = false;    // what it reads is no decoding
  bool reads_maps = false;    // beside the boxes
  bool weighted = false;      // after the boxes' decoding
  bool fewer_names = false;
  bool second_image = false;  // its loop over images, unrolled: two suppressions
};

// Two classes, two bins, one cell; then what Ultralytics' nms=True appends, in outline.
std::vector<std::byte> model(const Suppressing& kind) {
  OnnxWriter writer;
  writer.input("images", {1, 3, 8, 8}).output("output0");
  writer.metadata("names", kind.fewer_names ? "{0: 'b'}" : "{0: 'a', 1: 'b'}")
      .metadata("task", "detect");
  writer.floats("w", {8, 3, 8, 8}, std::vector<double>(1536, 0.01));
  writer.floats("u", {8, 8, 1, 1}, std::vector<double>(64, 0.1));
  writer.floats("v", {2, 8, 1, 1}, std::vector<double>(16, 0.1));
  writer.floats("bins", {1, 2, 1, 1}, {0, 1}).floats("stride", {}, {8});
  writer.floats("anchor", {1, 2, 1}, {0.5, 0.5});
  writer.node("Conv", {"images", "w"}, {"f"}, {{"strides", Ints{8, 8}}});
  writer.node("Conv", {"f", "u"}, {"box"}).node("Conv", {"f", "v"}, {"cls"});
  writer.ints("s4", {0, 4, 2, 1}).ints("s3", {0, 4, 1}).ints("sc", {0, 2, 1});
  writer.node("Reshape", {"box", "s4"}, {"b4"});
  writer.node("Transpose", {"b4"}, {"bt"}, {{"perm", Ints{0, 2, 1, 3}}});
  writer.node("Softmax", {"bt"}, {"bs"}, {{"axis", std::int64_t{1}}});
  writer.node("Conv", {"bs", "bins"}, {"bp"}).node("Reshape", {"bp", "s3"}, {"sides"});
  writer.node("Split", {"sides"}, {"lt", "rb"}, {{"axis", std::int64_t{1}}});
  writer.node("Sub", {"anchor", "lt"}, {"low"}).node("Add", {"anchor", "rb"}, {"high"});
  writer.node("Concat", {"low", "high"}, {"xyxy"}, {{"axis", std::int64_t{1}}});
  writer.node("Mul", {"xyxy", "stride"}, {"pixels"}).node("Reshape", {"cls", "sc"}, {"c3"});
  writer.node(kind.raw_scores ? "Identity" : "Sigmoid", {"c3"}, {"scores"});
  writer.node("Concat", {"pixels", "scores"}, {"dense"}, {{"axis", std::int64_t{1}}});
  // Numbers of pictures, which only the suppression reads.
  writer.ints("numbers", {0, 1}).node("ReduceMax", {"numbers"}, {"most"});
  writer.floats("weights", {1, 6, 1}, {1, 1, 1, 1, 0, 1});
  writer.node(kind.weighted ? "Mul" : "Identity",
              kind.weighted ? std::vector<std::string>{"dense", "weights"}
                            : std::vector<std::string>{"dense"},
              {"weighed"});
  writer.node("Transpose", {"weighed"}, {"rows"}, {{"perm", Ints{0, 2, 1}}});
  // From here on nothing can be run.
  writer.ints("zero", {0}).ints("four", {4}).ints("six", {6}).ints("last", {-1});
  writer.node("Slice", {"rows", "zero", "four", "last"}, {"boxes"});
  writer.node("Slice", {"rows", "four", "six", "last"}, {"each"});
  writer.node("Transpose", {"each"}, {"by_class"}, {{"perm", Ints{0, 2, 1}}});
  writer.node("NonMaxSuppression", {"boxes", "by_class"}, {"kept"});
  if (kind.second_image) {
    writer.node("NonMaxSuppression", {"boxes", "by_class"}, {"kept_too"});
    writer.node("Concat", {"kept", "kept_too"}, {"all"}, {{"axis", std::int64_t{0}}});
  }
  writer.node("GatherND", {kind.reads_maps ? "box" : "boxes", kind.second_image ? "all" : "kept"},
              {"left"});
  writer.node("Expand", {"left", "most"}, {"output0"});
  return writer.bytes();
}

TEST(Suppression, IsCutOffAndItsHeadIsPlain) {
  for (const bool second_image : {false, true}) {
    const std::vector<std::byte> bytes = model({.second_image = second_image});
    const auto network = parse_onnx(bytes, {});
    ASSERT_TRUE(network) << network.error().message;
    const auto lowered = lower(*network);
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_EQ(lowered->head.name, "dfl");
    EXPECT_EQ(lowered->head.spec.suppression, fovea::Suppression::kNeeded);
    EXPECT_THAT(lowered->head.note, HasSubstr("its suppression cut off"));
    ASSERT_EQ(lowered->head.warnings.size(), 1U);
    EXPECT_THAT(lowered->head.warnings[0], HasSubstr("that is cut off with its thresholds"));
    ASSERT_EQ(lowered->outputs.size(), 2U);
    EXPECT_EQ(lowered->value(lowered->outputs[0]).name, "box0");
    const auto summary = summarize_onnx(bytes, {});
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_TRUE(summary->refused.empty());
  }
}

TEST(Suppression, OfWhatIsNoHeadRefusesTheModel) {
  const auto network = parse_onnx(model({.raw_scores = true}), {});
  ASSERT_TRUE(network) << network.error().message;
  const auto lowered = lower(*network);
  ASSERT_FALSE(lowered);
  EXPECT_EQ(lowered.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(lowered.error().message, HasSubstr("suppresses boxes itself"));
  const auto tensors = lower(*parse_onnx(model({}), {}), {.head = std::string(kNoHead)});
  ASSERT_FALSE(tensors);
  EXPECT_THAT(tensors.error().message, HasSubstr("head is none, but the model suppresses"));
}

// What models of masks and of turned boxes suppress has a third map: coefficients, whose prototypes are
// an output that no suppression reads, written last, and extents of the picture are asked for; or an angle, with which boxes are compared by a
// triangle of a matrix instead of a NonMaxSuppression.
std::vector<std::byte> model_of_three_maps(bool turned) {
  OnnxWriter writer;
  writer.input("images", {1, 3, 8, 8}).output("output0").metadata("names", "{0: 'a', 1: 'b'}");
  writer.floats("w", {8, 3, 8, 8}, std::vector<double>(1536, 0.01));
  writer.floats("u", {4, 8, 1, 1}, std::vector<double>(32, 0.1));
  writer.floats("v", {2, 8, 1, 1}, std::vector<double>(16, 0.1));
  writer.floats("one", {1, 8, 1, 1}, std::vector<double>(8, 0.1)).floats("stride", {}, {8});
  writer.floats("anchor", {1, 2, 1}, {0.5, 0.5}).floats("two", {}, {2});
  writer.node("Conv", {"images", "w"}, {"f"}, {{"strides", Ints{8, 8}}});
  writer.node("Conv", {"f", "u"}, {"box"}).node("Conv", {"f", "v"}, {"cls"});
  writer.node("Conv", {"f", turned ? "one" : "v"}, {"third"});
  writer.ints("s3", {0, -1, 1});
  writer.node("Reshape", {"box", "s3"}, {"sides"}).node("Reshape", {"cls", "s3"}, {"logits"});
  writer.node("Reshape", {"third", "s3"}, {"extra"}).node("Sigmoid", {"logits"}, {"scores"});
  writer.node("Split", {"sides"}, {"lt", "rb"}, {{"axis", std::int64_t{1}}});
  const auto axis = [](std::int64_t value) {
    return std::map<std::string, Attribute>{{"axis", value}};
  };
  if (turned) {
    writer.node("Cos", {"extra"}, {"cos"}).node("Sin", {"extra"}, {"sin"});
    writer.node("Sub", {"rb", "lt"}, {"twice"}).node("Div", {"twice", "two"}, {"off"});
    writer.node("Split", {"off"}, {"x", "y"}, axis(1));
    writer.node("Mul", {"x", "cos"}, {"xc"}).node("Mul", {"y", "sin"}, {"ys"});
    writer.node("Mul", {"x", "sin"}, {"xs"}).node("Mul", {"y", "cos"}, {"yc"});
    writer.node("Sub", {"xc", "ys"}, {"dx"}).node("Add", {"xs", "yc"}, {"dy"});
    writer.node("Concat", {"dx", "dy"}, {"d"}, axis(1)).node("Add", {"d", "anchor"}, {"first"});
    writer.node("Add", {"lt", "rb"}, {"second"});
  } else {
    writer.node("Sub", {"anchor", "lt"}, {"first"}).node("Add", {"anchor", "rb"}, {"second"});
  }
  writer.node("Concat", {"first", "second"}, {"cells"}, axis(1));
  writer.node("Mul", {"cells", "stride"}, {"pixels"});
  writer.node("Concat", {"pixels", "scores", "extra"}, {"dense"}, axis(1));
  writer.node("Transpose", {"dense"}, {"rows"}, {{"perm", Ints{0, 2, 1}}});
  // From here on nothing can be run.
  writer.ints("zero", {0}).ints("four", {4}).ints("six", {6}).ints("nine", {9}).ints("last", {-1});
  writer.node("Slice", {"rows", "zero", "four", "last"}, {"boxes"});
  writer.node("Slice", {"rows", "four", "six", "last"}, {"each"});
  writer.node("Slice", {"rows", "six", "nine", "last"}, {"extras"});
  if (turned) {
    writer.node("MatMul", {"boxes", "extras"}, {"overlaps"})
        .node("Trilu", {"overlaps"}, {"before"});
    writer.node("NonZero", {"before"}, {"kept"});
  } else {
    writer.node("NonMaxSuppression", {"boxes", "each"}, {"kept"});
    writer.node("Shape", {"images"}, {"extents"}).node("Mul", {"kept", "extents"}, {"sized"});
  }
  writer.node("Concat", {"boxes", "each", "extras"}, {"all"}, axis(2));
  writer.node("GatherND", {"all", turned ? "kept" : "sized"}, {"output0"});
  if (!turned) {
    writer.floats("p", {2, 3, 4, 4}, std::vector<double>(96, 0.01)).output("output1");
    writer.node("Conv", {"images", "p"}, {"output1"}, {{"strides", Ints{4, 4}}});
  }
  return writer.bytes();
}

TEST(Suppression, OfThreeMapsIsCutOff) {
  for (const bool turned : {false, true}) {
    const std::vector<std::byte> bytes = model_of_three_maps(turned);
    const auto network = parse_onnx(bytes, {});
    ASSERT_TRUE(network) << network.error().message;
    const auto lowered = lower(*network);
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_EQ(lowered->head.spec.task(), turned ? Task::kObb : Task::kSegment);
    EXPECT_THAT(lowered->head.note, HasSubstr("its suppression cut off"));
    std::vector<std::string> outputs;
    for (const ValueId id : lowered->outputs) outputs.push_back(lowered->value(id).name);
    EXPECT_EQ(outputs, turned ? (std::vector<std::string>{"box0", "cls0", "ang0"})
                              : (std::vector<std::string>{"box0", "cls0", "msk0", "proto"}));
    const auto summary = summarize_onnx(bytes, {});
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_TRUE(summary->refused.empty());
  }
}

// Bytes flipped anywhere in them: a valid network, or an error in one line.
TEST(Suppression, OfDamagedModelsIsCutOffOrRefused) {
  for (const bool turned : {false, true}) {
    const std::vector<std::byte> good = model_of_three_maps(turned);
    std::size_t heads = 0;
    for (std::size_t i = 0; i < good.size(); ++i) {
      // Most of the file are weights.
      if (i > 400 && i < 7000 ? i % 101 != 0 : i % 2 != 0) continue;
      for (const unsigned bit : {0U, 4U}) {
        std::vector<std::byte> damaged = good;
        damaged[i] ^= static_cast<std::byte>(1U << bit);
        const auto network = parse_onnx(damaged, {});
        const auto lowered = network ? lower(*network) : tl::unexpected(network.error());
        if (lowered) {
          EXPECT_TRUE(lowered->validate());
          heads += lowered->head.known() ? 1 : 0;
        } else {
          EXPECT_EQ(lowered.error().message.find('\n'), std::string::npos);
        }
      }
    }
    EXPECT_GT(heads, 0U);
  }
}

// What a model does to its boxes before it suppresses them is not left out with the suppression.
TEST(Suppression, OfBoxesThatWereChangedRefusesTheModel) {
  for (const Suppressing& kind :
       {Suppressing{.weighted = true}, Suppressing{.fewer_names = true}}) {
    const auto network = parse_onnx(model(kind), {});
    ASSERT_TRUE(network) << network.error().message;
    const auto lowered = lower(*network);
    ASSERT_FALSE(lowered);
    EXPECT_THAT(lowered.error().message, HasSubstr("suppresses boxes itself"));
  }
  const auto kept = lower(*parse_onnx(model({}), {}), {.keep_output0 = true});
  ASSERT_FALSE(kept);
  EXPECT_THAT(kept.error().message, HasSubstr("without keep_output0 it is cut off"));
}

// What is behind a model's suppression may need more than its boxes: then nothing is cut.
TEST(Suppression, ThatReadsMoreThanOneValueStays) {
  const auto network = parse_onnx(model({.reads_maps = true}), {});
  ASSERT_FALSE(network);
  EXPECT_THAT(network.error().message, HasSubstr("NonMaxSuppression"));
}

}  // namespace
}  // namespace fovea::engine::test
