// A model's own choice of the best boxes, kept because the user says so or because it cannot be cut off.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/detector/engine/passes/passes.hpp"
#include "tests/engine/detect_head_maker.hpp"

namespace fovea::engine::test {
namespace {

using ::testing::HasSubstr;

struct Kept {
  std::string name;
  HeadSpelling head;
  std::optional<LevelMap> more;
};

std::vector<Kept> kept() {
  return {
      {"boxes", {.best = 20}, {}},
      {"boxes of one bin", {.classes = 7, .reg_max = 1, .best = 20}, {}},
      {"angles",
       {.reg_max = 1, .best = 20, .third = ThirdMap::kAngle, .as_26 = true},
       LevelMap{.role = OutputRole::kAngle}},
      {"keypoints",
       {.reg_max = 1,
        .best = 20,
        .third = ThirdMap::kKeypoints,
        .third_channels = 15,
        .as_26 = true},
       LevelMap{.role = OutputRole::kKeypoints, .channels = 15, .point_values = 3}},
      {"masks",
       {.classes = 80, .reg_max = 1, .best = 20, .third = ThirdMap::kMasks, .third_channels = 8},
       LevelMap{.role = OutputRole::kMaskCoefficients, .channels = 8}},
  };
}

TEST(RowsHead, IsProvenWhereTheTailIsKept) {
  for (const Kept& kind : kept()) {
    const NetworkDefinition network = HeadMaker(kind.head).make();
    const auto lowered = lower(network, {.keep_output0 = true});
    ASSERT_TRUE(lowered) << kind.name << ": " << lowered.error().message;
    EXPECT_EQ(lowered->head.name, "rows") << kind.name << ": " << lowered->head.note;
    EXPECT_EQ(lowered->head.basis, HeadBasis::kComputed);
    HeadSpec expected = rows_head(static_cast<std::uint32_t>(kind.head.classes), kind.more);
    if (kind.head.third == ThirdMap::kMasks) expected.maps.push_back(prototypes(8, 4));
    EXPECT_EQ(lowered->head.spec, expected) << kind.name << ": " << to_string(lowered->head.spec);
    EXPECT_EQ(lowered->outputs.size(), kind.head.third == ThirdMap::kMasks ? 2U : 1U);
    EXPECT_EQ(lowered->value(lowered->outputs[0]).dims,
              (Dims{-1, 20, std::int64_t{expected.channels_of("output0")}}));
    // Without being asked it is cut off.
    EXPECT_EQ(lower(network)->head.name, "dfl") << kind.name;
  }
}

// A tail that is none of those that can be proven: an anchor's best class only.
NetworkDefinition unproven(const std::string& task = "detect") {
  NetworkDefinition network = HeadMaker({.best = 20, .one_class_each = true}).make();
  network.class_names = {"a", "b", "c"};
  network.metadata["task"] = task;
  return network;
}

TEST(RowsHead, IsReadByItsMetadataWhereItCannotBeCutOff) {
  const auto lowered = lower(unproven());
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->head.name, "rows") << lowered->head.note;
  EXPECT_EQ(lowered->head.basis, HeadBasis::kMetadata);
  EXPECT_EQ(lowered->head.spec, rows_head(3));
}

TEST(RowsHead, IsNotReadAgainstItsMetadata) {
  for (const char* task : {"obb", "pose", "segment", "depth", ""}) {
    const auto lowered = lower(unproven(task));
    ASSERT_TRUE(lowered) << lowered.error().message;
    EXPECT_FALSE(lowered->head.known()) << task << ": " << lowered->head.note;
  }
  NetworkDefinition nameless = unproven();
  nameless.class_names.clear();
  const auto lowered = lower(nameless);
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_FALSE(lowered->head.known());
  EXPECT_THAT(lowered->head.note, HasSubstr("metadata name no classes"));
}

TEST(RowsHead, IsStatedWithoutATask) {
  NetworkDefinition network = unproven();
  network.metadata.clear();
  const auto lowered = lower(network, {.head = "rows"});
  ASSERT_TRUE(lowered) << lowered.error().message;
  EXPECT_EQ(lowered->head.basis, HeadBasis::kStated);
  network.class_names.clear();
  const auto nameless = lower(network, {.head = "rows"});
  ASSERT_FALSE(nameless);
  EXPECT_THAT(nameless.error().message, HasSubstr("head is rows, but"));
  const auto columns = lower(HeadMaker({.classes = 1}).make(), {.head = "rows"});
  ASSERT_FALSE(columns);
  EXPECT_THAT(columns.error().message, HasSubstr("head is rows, but"));
}

TEST(RowsHead, OfPointsNeedsTheirShape) {
  NetworkDefinition network = HeadMaker({.reg_max = 1,
                                         .best = 20,
                                         .third = ThirdMap::kKeypoints,
                                         .third_channels = 15,
                                         .as_26 = true,
                                         .point_error = 1.5F})
                                  .make();
  network.class_names = {"a", "b", "c"};
  network.metadata["task"] = "pose";
  EXPECT_THAT(lower(network)->head.note, HasSubstr("kpt_shape is missing"));
  network.metadata["kpt_shape"] = "[7, 2]";
  EXPECT_THAT(lower(network)->head.note, HasSubstr("kpt_shape is [7, 2]"));
  network.metadata["kpt_shape"] = "[5, 3]";
  EXPECT_EQ(lower(network)->head.name, "rows");
}

}  // namespace
}  // namespace fovea::engine::test
