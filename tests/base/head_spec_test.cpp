// What a head says of its outputs, and why a forged one is refused.
#include "nodes/base/head_spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/base/refusals.hpp"

namespace fovea {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::array<std::uint32_t, 2> kStrides{8, 16};

TEST(HeadSpec, OfRawMapsHasABoxAndAScoreMapPerLevel) {
  const HeadSpec head = dfl_head(80, 16, kStrides);
  EXPECT_EQ(problem_of(head), "");
  EXPECT_EQ(head.maps.size(), 4u);
  EXPECT_EQ(head.classes(), 80u);
  EXPECT_EQ(head.bins(), 16u);
  EXPECT_THAT(head.strides(), ElementsAre(8, 16));
  EXPECT_EQ(head.channels_of("box1"), 64u);
  EXPECT_TRUE(head.channels_last("cls0"));
  EXPECT_FALSE(head.channels_last("cls2"));
  EXPECT_THAT(to_string(head),
              HasSubstr("box in box1: distribution of 16, outermost, stride 16, channels 0..63; "
                        "class_score in cls1: logit, outermost, stride 16, channels 0..79"));
}

TEST(HeadSpec, OfDecodedAnchorsIsOneTensor) {
  for (const HeadSpec& head : {decoded_head(3), objectness_head(3)}) {
    EXPECT_EQ(problem_of(head), "");
    EXPECT_EQ(head.classes(), 3u);
    EXPECT_EQ(head.bins(), 0u);
    EXPECT_TRUE(head.strides().empty());
    EXPECT_FALSE(head.channels_last("output0"));
    EXPECT_EQ(head.find(OutputRole::kKeypoints), nullptr);
  }
  EXPECT_EQ(decoded_head(3).channels_of("output0"), 7u);
  EXPECT_EQ(objectness_head(3).channels_of("output0"), 8u);
  EXPECT_EQ(objectness_head(3).find(OutputRole::kClassScore)->first_channel, 5u);
}

TEST(HeadSpec, OfRowsNamesItsClassesByNumber) {
  const HeadSpec head =
      rows_head(80, LevelMap{.role = OutputRole::kKeypoints, .channels = 51, .point_values = 3});
  EXPECT_EQ(problem_of(head), "");
  EXPECT_EQ(head.classes(), 80u);
  EXPECT_EQ(head.channels_of("output0"), 57u);
  EXPECT_EQ(head.task(), Task::kPose);
  EXPECT_EQ(head.find(OutputRole::kBox)->encoding, OutputEncoding::kCorners);
  EXPECT_THAT(to_string(head), HasSubstr("class_index in output0: decoded of 80 classes"));
  const HeadSpec turned = rows_head(2, LevelMap{.role = OutputRole::kAngle});
  EXPECT_EQ(problem_of(turned), "");
  EXPECT_EQ(turned.find(OutputRole::kBox)->encoding, OutputEncoding::kDecoded);
  HeadSpec forged = rows_head(2);
  forged.maps[2].classes = 0;
  EXPECT_THAT(problem_of(forged), HasSubstr("classes is 0"));
  forged = rows_head(2);
  forged.maps[1].classes = 2;
  EXPECT_THAT(problem_of(forged), HasSubstr("classes is 2"));
}

TEST(HeadSpec, OfAMapStandsAlone) {
  const HeadSpec semantic = semantic_head(19, 8);
  EXPECT_EQ(problem_of(semantic), "");
  EXPECT_EQ(semantic.task(), Task::kSemantic);
  EXPECT_EQ(semantic.classes(), 19u);
  EXPECT_TRUE(semantic.channels_last("semantic"));
  const HeadSpec depth = depth_head(4);
  EXPECT_EQ(problem_of(depth), "");
  EXPECT_EQ(depth.task(), Task::kDepth);
  EXPECT_EQ(depth.classes(), 0u);
  EXPECT_EQ(to_string(depth), "depth in depth: decoded, outermost, stride 4, channels 0..0");
  EXPECT_FALSE(finds_objects(semantic.task()) || finds_objects(depth.task()));
}

TEST(HeadSpec, QueriesAreStretchedPicturesObjectsOfAnyClass) {
  const HeadSpec head = query_head(4);
  EXPECT_EQ(problem_of(head), "");
  EXPECT_EQ(head.task(), Task::kDetect);
  EXPECT_EQ(head.classes(), 4u);
  EXPECT_FALSE(head.channels_last("boxes"));
  EXPECT_EQ(to_string(head),
            "box in boxes: normalised, outermost, channels 0..3; class_score in logits: logit, "
            "outermost, channels 0..3; nothing to suppress");
}

TEST(HeadSpec, OfNothingIsNoHead) {
  EXPECT_TRUE(HeadSpec{}.empty());
  EXPECT_EQ(HeadSpec{}.classes(), 0u);
  EXPECT_EQ(problem_of(HeadSpec{}), "");
  EXPECT_EQ(to_string(HeadSpec{}), "");
}

// Any bytes may be in a message: problem_of() itself must be safe, whatever they are.
TEST(HeadSpec, MoreMapsThanThereIsRoomForAreAProblemAndNotRead) {
  HeadSpec head = dfl_head(80, 16, kStrides);
  head.maps.count = 0xffffffff;
  EXPECT_EQ(problem_of(head), "the head has 4294967295 maps; it must have at most 32");
}

TEST(HeadSpec, ASuppressionThatThereIsNotIsAProblem) {
  HeadSpec head = dfl_head(80, 1, kStrides, Suppression::kNone);
  EXPECT_EQ(problem_of(head), "");
  EXPECT_THAT(to_string(head), HasSubstr("; nothing to suppress"));
  head.suppression = static_cast<Suppression>(2);
  EXPECT_EQ(problem_of(head), "the head's suppression is 2; it must be 0..1");
}

TEST(HeadSpec, TwoPartsOfOneTensorMustAgreeAboutIt) {
  HeadSpec head = objectness_head(3);
  head.maps[1].first_channel = 3;
  EXPECT_EQ(problem_of(head), "maps 0 and 1 of the head: their channels overlap");
  head = objectness_head(3);
  head.maps[1].stride = 8;
  EXPECT_EQ(problem_of(head), "maps 0 and 1 of the head: they read one tensor in two ways");
  head = dfl_head(80, 16, kStrides);
  head.maps[3].channels = 79;
  EXPECT_EQ(problem_of(head), "maps 1 and 3 of the head: scores of 80 and of 79 classes");
}

TEST(Refusals, SayAReasonOnce) {
  Refusals refusals;
  EXPECT_EQ(refusals.text(), "");
  refusals.add("a", "too large");
  EXPECT_EQ(refusals.text(), "too large");
  refusals.add("b", "too small");
  refusals.add("c", "too large");
  EXPECT_EQ(refusals.text(), "a, c: too large; b: too small");
}

}  // namespace
}  // namespace fovea
