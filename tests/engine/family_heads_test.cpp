// Families without metadata are told apart by their numbers, fed as their own tools feed them, and
// nothing else is taken for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/base/grid_head.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/family_head_maker.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::array<std::uint32_t, 3> kStrides{8, 16, 32};

std::vector<std::string> names_of(const NetworkDefinition& network) {
  std::vector<std::string> names;
  for (const ValueId id : network.outputs) names.push_back(network.value(id).name);
  return names;
}

void expect_only_convolutions(const NetworkDefinition& network) {
  for (const Layer& layer : network.layers) {
    EXPECT_TRUE(layer.op == OpType::kConv || layer.op == OpType::kImageInput ||
                layer.op == OpType::kSlice || layer.op == OpType::kConcat)
        << layer.name;
  }
}

TEST(FamilyHeads, YoloxIsCutOffAndFedAsItsOwnToolsFeedIt) {
  for (const bool decoded : {false, true}) {
    for (const std::int64_t classes : {1, 3, 4}) {
      const auto network = lower(FamilyHeadMaker({.classes = classes, .decoded = decoded}).yolox());
      ASSERT_TRUE(network) << network.error().message;
      ASSERT_EQ(network->head.name, "grid") << network->head.note;
      EXPECT_EQ(network->head.spec, grid_head(static_cast<std::uint32_t>(classes), kStrides));
      EXPECT_EQ(network->head.basis, HeadBasis::kComputed);
      EXPECT_EQ(to_string(network->picture), "bgr 0..255, letterbox_top_left, border 114");
      EXPECT_THAT(names_of(*network), ElementsAre("box0", "obj0", "cls0", "box1", "obj1", "cls1",
                                                  "box2", "obj2", "cls2"));
      expect_only_convolutions(*network);
    }
  }
}

// The first YOLOv6 has YOLOX's head behind another stem, and takes what Ultralytics' models take.
TEST(FamilyHeads, DecodedRowsWithoutAFocusAreFedTheUsual) {
  const auto network = lower(FamilyHeadMaker({.decoded = true, .focus = false}).yolox());
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_EQ(network->head.name, "grid");
  EXPECT_EQ(network->picture, InputSpec{});
}

TEST(FamilyHeads, YoloxWithAnotherGridIsNotClaimed) {
  const auto network = lower(FamilyHeadMaker({.decoded = true, .grid_error = 0.5F}).yolox());
  EXPECT_FALSE(network && network->head.name == "grid");
}

TEST(FamilyHeads, WhatTheUserSaysOfThePictureCounts) {
  LoweringOptions options;
  options.picture.colour = ColourOrder::kRgb;
  options.picture.resize = ResizeMode::kStretch;
  const auto network = lower(FamilyHeadMaker({}).yolox(), options);
  ASSERT_TRUE(network);
  EXPECT_EQ(to_string(network->picture), "rgb 0..255, stretch");
}

TEST(FamilyHeads, Yolov6RowsAreTheRawMapsBehindThem) {
  const auto network = lower(FamilyHeadMaker({}).yolov6());
  ASSERT_TRUE(network) << network.error().message;
  ASSERT_EQ(network->head.name, "dfl_rows") << network->head.note;
  EXPECT_EQ(network->head.spec, dfl_head(3, 5, kStrides));
  EXPECT_EQ(network->picture, InputSpec{});
  expect_only_convolutions(*network);
}

TEST(FamilyHeads, RowsWhoseObjectnessCountsAreNoYolov6) {
  const auto network = lower(FamilyHeadMaker({.objectness = 0.5F}).yolov6());
  EXPECT_FALSE(network && network->head.name == "dfl_rows");
}

TEST(FamilyHeads, YoloNasIsTheRawMapsBehindItsPair) {
  for (const bool scores_first : {false, true}) {
    for (const std::int64_t classes : {1, 3, 4}) {
      const auto network =
          lower(FamilyHeadMaker({.classes = classes, .scores_first = scores_first}).pair());
      ASSERT_TRUE(network) << network.error().message;
      ASSERT_EQ(network->head.name, "dfl_rows") << network->head.note;
      EXPECT_EQ(network->head.spec, dfl_head(static_cast<std::uint32_t>(classes), 5, kStrides));
      EXPECT_EQ(network->picture, InputSpec{});
      expect_only_convolutions(*network);
    }
  }
}

TEST(FamilyHeads, PpYoloeIsStretched) {
  const auto network = lower(FamilyHeadMaker({.score_columns = true}).pair());
  ASSERT_TRUE(network) << network.error().message;
  EXPECT_EQ(network->head.spec, dfl_head(3, 5, kStrides));
  EXPECT_EQ(to_string(network->picture), "rgb 0..1, stretch");
}

TEST(FamilyHeads, DamoYoloKeepsItsPairAndIsFedBytes) {
  for (const bool columns : {false, true}) {
    const auto network = lower(
        FamilyHeadMaker({.score_columns = columns, .cell_offset = 0, .scores_first = true}).pair());
    ASSERT_TRUE(network) << network.error().message;
    ASSERT_EQ(network->head.name, "pair") << network->head.note;
    EXPECT_EQ(network->head.spec,
              pair_head(3, columns ? AnchorAxis::kInnermost : AnchorAxis::kOutermost));
    EXPECT_EQ(to_string(network->picture), "rgb 0..255, letterbox_top_left, border 0");
    EXPECT_THAT(names_of(*network), ElementsAre("boxes", "scores"));
  }
}

TEST(FamilyHeads, PairsThatAreNeitherAreRefusedWithTheReason) {
  const auto raw = lower(FamilyHeadMaker({.raw_scores = true}).pair());
  ASSERT_TRUE(!raw || !raw->head.known());
  EXPECT_THAT(raw ? raw->head.note : raw.error().message,
              HasSubstr("nothing keeps the latter in 0..1"));
  const auto elsewhere = lower(FamilyHeadMaker({.cell_offset = 0.25F}).pair());
  ASSERT_TRUE(!elsewhere || !elsewhere->head.known());
  EXPECT_THAT(elsewhere ? elsewhere->head.note : elsewhere.error().message,
              HasSubstr("no corners around the cells of a grid"));
}

}  // namespace
}  // namespace fovea::engine::test
