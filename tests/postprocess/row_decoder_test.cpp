// Rows that a model chose itself come out as they are: nothing is suppressed, nothing is invented.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/postprocess/task_heads.hpp"

namespace fovea::test {
namespace {

using ::testing::HasSubstr;

constexpr LevelMap kPoints{.role = OutputRole::kKeypoints, .channels = 6, .point_values = 3};

Head rows_of(std::int64_t fields, const std::vector<std::vector<float>>& rows) {
  Head head;
  head.add("output0", {static_cast<std::int64_t>(rows.size()), fields});
  float* out = head.maps[0].values.data();
  for (const auto& row : rows) {
    std::copy(row.begin(), row.end(), out);
    out += fields;
  }
  return head;
}

TEST(Rows, AreDetectionsAboveTheirThreshold) {
  PostprocessOptions options;
  options.score_threshold = 0.5f;
  Postprocessor postprocessor = make(model_of(rows_head(3), 3), options);
  // The same box twice, one below the threshold, one inside out, and an empty row.
  const Head head = rows_of(6, {{20, 40, 60, 80, 0.9f, 2},
                                {20, 40, 60, 80, 0.8f, 2},
                                {20, 40, 60, 80, 0.5f, 1},
                                {60, 40, 20, 80, 0.7f, 1},
                                {0, 0, 0, 0, 0, 0}});
  msgs::Detection2DArray found;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, found));
  ASSERT_EQ(found.detections.size(), 2u);
  EXPECT_EQ(found.detections[0].hypothesis.class_id, 2u);
  EXPECT_EQ(found.detections[0].class_name.view(), "class2");
  EXPECT_FLOAT_EQ(found.detections[0].hypothesis.score, 0.9f);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.center_x, 80);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.center_y, 80);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_x, 80);
  EXPECT_FLOAT_EQ(found.detections[1].hypothesis.score, 0.8f);
}

TEST(Rows, OfNoClassOrNoNumberAreLeftOutAndCounted) {
  auto decoder = create_decoder(model_of(rows_head(3), 3));
  ASSERT_TRUE(decoder) << decoder.error().message;
  const Head head = rows_of(6, {{20, 40, 60, 80, 0.9f, 3},
                                {20, 40, 60, 80, 0.9f, -1},
                                {20, 40, 60, 80, 0.9f, 0.5f},
                                {20, 40, 60, 80, 0.9f, kNan},
                                {20, 40, 60, 80, kNan, 0},
                                {20, 40, 60, kNan, 0.9f, 0},
                                {20, 40, 60, 80, 0.9f, 0}});
  std::vector<Candidate> candidates;
  ASSERT_TRUE((*decoder)->decode(head.tensors(), candidates));
  EXPECT_EQ(candidates.size(), 1u);
  EXPECT_EQ((*decoder)->not_finite().scores, 5u);
  EXPECT_EQ((*decoder)->not_finite().boxes, 1u);
}

TEST(Rows, HavePointsInNetworkPixels) {
  Postprocessor postprocessor = make(model_of(rows_head(1, kPoints), 1));
  const Head head = rows_of(12, {{20, 40, 60, 80, 0.9f, 0, 30, 50, 0.25f, 40, 60, 1.5f}});
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::KeypointDetection2DArray found;
  postprocessor.keypoints(found);
  ASSERT_EQ(found.detections.size(), 1u);
  ASSERT_EQ(found.detections[0].keypoints.size(), 2u);
  EXPECT_FLOAT_EQ(found.detections[0].keypoints[0].x, 60);
  EXPECT_FLOAT_EQ(found.detections[0].keypoints[0].y, 60);
  EXPECT_FLOAT_EQ(found.detections[0].keypoints[0].visibility, 0.25f);
  EXPECT_FLOAT_EQ(found.detections[0].keypoints[1].visibility, 1);
}

TEST(Rows, MayBeTurned) {
  Postprocessor postprocessor =
      make(model_of(rows_head(1, LevelMap{.role = OutputRole::kAngle}), 1));
  const Head head = rows_of(7, {{80, 80, 40, 20, 0.9f, 0, 0.5f}});
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::OrientedDetection2DArray found;
  postprocessor.oriented_boxes(found);
  ASSERT_EQ(found.detections.size(), 1u);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_x, 80);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_y, 40);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.theta, 0.5f);
}

TEST(Rows, MayHaveMasks) {
  HeadSpec spec = rows_head(1, LevelMap{.role = OutputRole::kMaskCoefficients, .channels = 2});
  spec.maps.push_back(prototypes(2, 4));
  Postprocessor postprocessor = make(model_of(spec, 1));
  Head head = rows_of(8, {{40, 60, 80, 100, 0.9f, 0, 1, 0}, {40, 60, 80, 100, 0.8f, 0, 0, 1}});
  head.add("proto", {40, 40, 2});
  for (std::size_t i = 0; i < head.maps[1].values.size(); i += 2) {
    head.maps[1].values[i] = 1;       // the first row's: everywhere
    head.maps[1].values[i + 1] = -1;  // the second's: nowhere
  }
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_EQ(boxes.detections.size(), 1u);
}

TEST(Rows, OfAnotherKindAreRefused) {
  const auto changed = [](std::optional<LevelMap> more, auto change) {
    HeadSpec spec = rows_head(2, more);
    change(spec);
    return refusal_of(model_of(spec, 2));
  };
  EXPECT_THAT(changed({}, [](HeadSpec& s) { s.maps[0].encoding = OutputEncoding::kDecoded; }),
              HasSubstr("box is decoded"));
  EXPECT_THAT(changed({}, [](HeadSpec& s) { s.maps[2].tensor = std::string_view("labels"); }),
              HasSubstr("several tensors"));
  EXPECT_THAT(changed({}, [](HeadSpec& s) { s.maps[2].classes = 3; }),
              HasSubstr("there are names of 2"));
  EXPECT_THAT(
      changed(kPoints, [](HeadSpec& s) { s.maps[3].encoding = OutputEncoding::kCentreOffset; }),
      HasSubstr("keypoints is centre_offset"));
  EXPECT_THAT(
      changed(LevelMap{.role = OutputRole::kMaskCoefficients, .channels = 2}, [](HeadSpec&) {}),
      HasSubstr("0 maps of prototypes"));
}

TEST(Rows, MustHaveTheModelsShape) {
  Postprocessor postprocessor = make(model_of(rows_head(3), 3));
  msgs::Detection2DArray found;
  for (const Head& head : {rows_of(7, {{1, 2, 3, 4, 0.5f, 0, 0}}), rows_of(6, {})}) {
    EXPECT_FALSE(postprocessor.run(head.tensors(), kTransform, found));
  }
}

}  // namespace
}  // namespace fovea::test
