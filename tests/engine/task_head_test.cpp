// Heads of masks, keypoints, turned boxes and classes are found however they are spelt, by what they
// compute, and nothing else is taken for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/detect_head_maker.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Spelling {
  const char* name;
  HeadSpelling head;
  LevelMap map;
};

LevelMap angle(OutputEncoding encoding) { return {OutputRole::kAngle, encoding, 1, 0}; }
LevelMap points(OutputEncoding encoding, std::uint32_t channels, std::uint32_t values) {
  return {OutputRole::kKeypoints, encoding, channels, values};
}
LevelMap masks(std::uint32_t channels) {
  return {OutputRole::kMaskCoefficients, OutputEncoding::kDecoded, channels, 0};
}

std::vector<Spelling> spellings() {
  constexpr auto kCentre = OutputEncoding::kCentreOffset;
  constexpr auto kTwice = OutputEncoding::kTwiceOffset;
  constexpr auto kPoints = ThirdMap::kKeypoints;
  constexpr auto kAngle = ThirdMap::kAngle;
  constexpr auto kMasks = ThirdMap::kMasks;
  return {
      {"angle", {.third = kAngle}, angle(OutputEncoding::kLogit)},
      {"angle, no logit",
       {.reg_max = 1, .third = kAngle, .as_26 = true},
       angle(OutputEncoding::kDecoded)},
      {"angle, one class", {.classes = 1, .third = kAngle}, angle(OutputEncoding::kLogit)},
      {"angle, one class, no logit",
       {.classes = 1, .reg_max = 1, .third = kAngle, .as_26 = true},
       angle(OutputEncoding::kDecoded)},
      {"angle, as many classes as distances",
       {.classes = 4, .reg_max = 1, .third = kAngle},
       angle(OutputEncoding::kLogit)},
      {"angle, the best",
       {.reg_max = 1, .best = 20, .third = kAngle, .as_26 = true},
       angle(OutputEncoding::kDecoded)},
      {"angle, the best of one class",
       {.classes = 1, .best = 20, .third = kAngle},
       angle(OutputEncoding::kLogit)},
      {"keypoints", {.third = kPoints, .third_channels = 15}, points(kTwice, 15, 3)},
      {"keypoints from the centre",
       {.third = kPoints, .third_channels = 15, .as_26 = true},
       points(kCentre, 15, 3)},
      {"keypoints that nobody sees",
       {.third = kPoints, .third_channels = 10, .point_values = 2},
       points(kTwice, 10, 2)},
      {"six numbers of three points",
       {.third = kPoints, .third_channels = 6, .point_values = 2},
       points(kTwice, 6, 2)},
      {"six numbers of two points", {.third = kPoints, .third_channels = 6}, points(kTwice, 6, 3)},
      {"as many classes, distances and keypoints' numbers",
       {.classes = 12, .reg_max = 3, .third = kPoints, .third_channels = 12, .as_26 = true},
       points(kCentre, 12, 3)},
      {"keypoints, fixed batch",
       {.batch = 2, .third = kPoints, .third_channels = 15},
       points(kTwice, 15, 3)},
      {"keypoints, computed anchors",
       {.shapes_from_batch = true,
        .computed_anchors = true,
        .third = kPoints,
        .third_channels = 15},
       points(kTwice, 15, 3)},
      {"keypoints, the best",
       {.reg_max = 1, .best = 20, .third = kPoints, .third_channels = 15, .as_26 = true},
       points(kCentre, 15, 3)},
      {"masks", {.third = kMasks, .third_channels = 8}, masks(8)},
      {"masks, as many as distances", {.third = kMasks, .third_channels = 16}, masks(16)},
      {"masks, as many as classes",
       {.classes = 16, .third = kMasks, .third_channels = 16},
       masks(16)},
      {"masks, the best",
       {.classes = 80, .reg_max = 1, .best = 20, .third = kMasks, .third_channels = 8},
       masks(8)},
  };
}

HeadSpec spec_of(const Spelling& spelling) {
  const std::vector<std::uint32_t> strides = {8, 16, 32};
  HeadSpec spec =
      dfl_head(static_cast<std::uint32_t>(spelling.head.classes),
               static_cast<std::uint32_t>(spelling.head.reg_max), strides,
               spelling.head.best > 0 ? Suppression::kNone : Suppression::kNeeded, spelling.map);
  if (spelling.map.role == OutputRole::kMaskCoefficients) {
    spec.maps.push_back(prototypes(spelling.map.channels, 4));
  }
  return spec;
}

TEST(TaskHead, IsCutOffHoweverItIsSpelt) {
  for (const Spelling& spelling : spellings()) {
    const auto lowered = lower(HeadMaker(spelling.head).make());
    ASSERT_TRUE(lowered) << spelling.name << ": " << lowered.error().message;
    ASSERT_EQ(lowered->head.name, "dfl") << spelling.name << ": " << lowered->head.note;
    const HeadSpec expected = spec_of(spelling);
    EXPECT_EQ(lowered->head.spec, expected)
        << spelling.name << ": " << to_string(lowered->head.spec);
    EXPECT_EQ(lowered->head.basis, HeadBasis::kComputed);
    ASSERT_EQ(lowered->outputs.size(), expected.maps.size()) << spelling.name;
    for (std::size_t i = 0; i < expected.maps.size(); ++i) {
      const OutputMap& map = expected.maps[i];
      const Value& output = lowered->value(lowered->outputs[i]);
      const std::int64_t size = 64 / map.stride;
      EXPECT_EQ(output.name, map.tensor.view()) << spelling.name;
      EXPECT_EQ(output.dims, (Dims{-1, map.channels, size, size})) << spelling.name;
    }
    for (const Layer& layer : lowered->layers) {
      EXPECT_TRUE(layer.op == OpType::kConv || layer.op == OpType::kImageInput) << layer.name;
    }
  }
}

TEST(TaskHead, IsNotClaimedWhenTheTailComputesSomethingElse) {
  constexpr auto kPoints = ThirdMap::kKeypoints;
  constexpr auto kAngle = ThirdMap::kAngle;
  constexpr auto kMasks = ThirdMap::kMasks;
  struct Wrong {
    const char* name;
    const char* task;
    HeadSpelling head;
    const char* note = "computes no boxes of them";
  };
  const std::vector<Wrong> wrong = {
      {"keypoints of another scale",
       "pose",
       {.third = kPoints, .third_channels = 15, .point_error = 1.01F}},
      {"the best's keypoints of another scale",
       "pose",
       {.best = 20, .third = kPoints, .third_channels = 15, .point_error = 1.01F}},
      {"a visibility without a sigmoid",
       "pose",
       {.third = kPoints, .third_channels = 15, .raw_visibility = true}},
      {"angles of other units", "obb", {.third = kAngle, .half_turn = 1.0F}},
      {"the best's angles of other units", "obb", {.best = 20, .third = kAngle, .half_turn = 1.0F}},
      {"boxes that do not turn", "obb", {.third = kAngle, .straight_boxes = true}},
      {"keypoints that are limited",
       "pose",
       {.third = kPoints, .third_channels = 15, .limited = true}},
      {"the best's masks that are limited",
       "segment",
       {.best = 20, .third = kMasks, .third_channels = 8, .limited = true}},
      {"prototypes twice",
       "segment",
       {.third = kMasks, .third_channels = 8, .second_prototypes = true},
       "'output1' and 'output2' could both be the prototypes of its 8 mask coefficients"},
      {"fewer prototypes",
       "segment",
       {.third = kMasks, .third_channels = 8, .fewer_prototypes = 1},
       "gives 8 mask coefficients per box, and no output holds as many prototypes"},
      {"prototypes of two strides",
       "segment",
       {.third = kMasks, .third_channels = 8, .low_prototypes = true},
       "'output1' is [1, 8, 8, 16], a mask output of another stride: the input is 64 x 64"},
  };
  for (const Wrong& spelling : wrong) {
    NetworkDefinition network = HeadMaker(spelling.head).make();
    network.metadata["task"] = spelling.task;
    const auto lowered = lower(network);
    ASSERT_TRUE(lowered) << spelling.name << ": " << lowered.error().message;
    EXPECT_FALSE(lowered->head.known()) << spelling.name << ": " << lowered->head.note;
    EXPECT_THAT(lowered->head.note, HasSubstr(spelling.note)) << spelling.name;
  }
}

// Numbers decide what a head is; metadata that say something else are warned of.
TEST(TaskHead, ContradictsItsMetadata) {
  const HeadSpelling posing = {.third = ThirdMap::kKeypoints, .third_channels = 15};
  NetworkDefinition network = HeadMaker(posing).make();
  network.class_names = {"a", "b", "c"};
  network.metadata = {{"task", "pose"}, {"kpt_shape", "[5, 3]"}};
  EXPECT_THAT(lower(network)->head.warnings, IsEmpty());
  network.metadata = {{"task", "obb"}, {"kpt_shape", "[17, 3]"}};
  const auto lowered = lower(network);
  EXPECT_EQ(lowered->head.spec.task(), Task::kPose);
  EXPECT_THAT(
      lowered->head.warnings,
      ElementsAre("the metadata say task 'obb', and the model computes pose, which counts",
                  "the metadata say kpt_shape [17, 3], and the model computes [5, 3], which "
                  "counts"));
}

// No detector decodes its output as a whole, so asking for that leaves no head, rather than columns
// of 18 classes.
TEST(TaskHead, HasRawMapsOnly) {
  const HeadSpelling posing = {.third = ThirdMap::kKeypoints, .third_channels = 15};
  const auto lowered = lower(HeadMaker(posing).make(), {.keep_output0 = true});
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_FALSE(lowered->head.known());
  EXPECT_THAT(lowered->head.note, HasSubstr("beside boxes and scores it holds 5 keypoints"));
}

// images [N, 3, 8, 8] to the scores of `classes`, through what a classifier ends in.
NetworkDefinition classifier(std::int64_t classes, OpType last, std::int64_t axis = -1) {
  GraphMaker g;
  const ValueId features = g.silu(g.conv(g.input("images", {-1, 3, 8, 8}), 3, 6, 3));
  const ValueId flat = g.add(OpType::kFlatten, {g.add(OpType::kGlobalAveragePool, {features})});
  ValueId y = g.add(OpType::kGemm,
                    {flat, g.constant(noise({6, classes}, 1)), g.constant(noise({classes}, 2))});
  if (last == OpType::kSoftmax) y = g.add(last, {y}, {{"axis", axis}});
  if (last == OpType::kSigmoid) y = g.add(last, {y});
  NetworkDefinition network = g.finish({y});
  network.metadata["task"] = "classify";
  return network;
}

TEST(ClassifyHead, IsScoresThatSumUpToOne) {
  const auto lowered = lower(classifier(5, OpType::kSoftmax));
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->head.name, "classify") << lowered->head.note;
  EXPECT_EQ(lowered->head.spec, classify_head(5));
  EXPECT_EQ(lowered->head.spec.task(), Task::kClassify);
  EXPECT_EQ(lowered->head.basis, HeadBasis::kMetadata);
  ASSERT_EQ(lowered->outputs.size(), 1U);
  EXPECT_EQ(lowered->value(lowered->outputs[0]).name, "output0");
  EXPECT_EQ(lowered->value(lowered->outputs[0]).dims, (Dims{-1, 5}));
}

TEST(ClassifyHead, IsNotClaimedOfOtherNumbers) {
  for (const auto& network : {classifier(5, OpType::kConv), classifier(5, OpType::kSigmoid),
                              classifier(5, OpType::kSoftmax, 0)}) {
    const auto lowered = lower(network);
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_FALSE(lowered->head.known());
    EXPECT_THAT(lowered->head.note, HasSubstr("no scores that sum up to 1"));
  }
  NetworkDefinition untold = classifier(5, OpType::kSoftmax);
  untold.metadata.clear();
  EXPECT_FALSE(lower(untold)->head.known());
}

}  // namespace
}  // namespace fovea::engine::test
