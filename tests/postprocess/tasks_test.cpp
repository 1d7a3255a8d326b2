// What a head finds follows from its maps: keypoints and classes, and what every task refuses.
#include <array>
#include <limits>
#include <memory>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/postprocess/postprocessor.hpp"
#include "tests/postprocess/task_heads.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using namespace test;  // NOLINT: heads and what is in them
using testing::HasSubstr;

TEST(Tasks, FollowFromTheMaps) {
  EXPECT_EQ(make(model_of(dfl_head(2, 1, kStrides), 2)).task(), Task::kDetect);
  EXPECT_EQ(make(pose_model(OutputEncoding::kTwiceOffset)).task(), Task::kPose);
  EXPECT_EQ(make(obb_model(OutputEncoding::kLogit)).task(), Task::kObb);
  EXPECT_EQ(make(segment_model()).task(), Task::kSegment);
  EXPECT_EQ(make(model_of(classify_head(7), 7)).task(), Task::kClassify);
}

// Cell (5, 10) of 8 pixels: its corner at (80, 40), its centre at (84, 44).
TEST(Keypoints, ComeOutOfBothEncodingsInSourcePixels) {
  for (const bool twice : {true, false}) {
    const auto model =
        pose_model(twice ? OutputEncoding::kTwiceOffset : OutputEncoding::kCentreOffset);
    Head head = quiet_head(model);
    put(head, 5, 10, {2, 2, 2, 2}, 1, 4, "kpt0", {0.5f, -1, 0, 100, 1, -30});
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    ASSERT_EQ(boxes.detections.size(), 1u);
    const auto found = std::make_unique<msgs::KeypointDetection2DArray>();
    postprocessor.keypoints(*found);
    EXPECT_EQ(found->source_width, 320u);
    EXPECT_EQ(found->source_height, 240u);
    ASSERT_EQ(found->detections.size(), 1u);
    const msgs::KeypointDetection2D& person = found->detections[0];
    EXPECT_EQ(person.bbox, boxes.detections[0].bbox);
    EXPECT_EQ(person.hypothesis.class_id, 1u);
    EXPECT_EQ(person.class_name, msgs::ClassName("class1"));
    ASSERT_EQ(person.keypoints.size(), 2u);
    // Network (88, 24) or (88, 36); the source is twice as large, and 20 network pixels higher.
    EXPECT_EQ(person.keypoints[0],
              (twice ? msgs::Keypoint2D{176, 8, 0.5f} : msgs::Keypoint2D{176, 32, 0.5f}));
    // Beyond the right edge: clipped to it, and hardly visible.
    EXPECT_EQ(person.keypoints[1].x, 320);
    EXPECT_LT(person.keypoints[1].visibility, 1e-9f);
  }
}

TEST(Keypoints, OfTwoValuesAreVisible) {
  const auto model = pose_model(OutputEncoding::kCentreOffset, 2);
  Head head = quiet_head(model);
  put(head, 5, 10, {2, 2, 2, 2}, 0, 4, "kpt0", {0, 0, 1, 1});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  const auto found = std::make_unique<msgs::KeypointDetection2DArray>();
  postprocessor.keypoints(*found);
  ASSERT_EQ(found->detections.size(), 1u);
  EXPECT_EQ(found->detections[0].keypoints[0], (msgs::Keypoint2D{168, 48, 1}));
  EXPECT_EQ(found->detections[0].keypoints[1], (msgs::Keypoint2D{184, 64, 1}));
}

TEST(Keypoints, ThatAreNoNumbersTakeTheirObjectOut) {
  const auto model = pose_model(OutputEncoding::kTwiceOffset);
  Head head = quiet_head(model);
  put(head, 5, 10, {2, 2, 2, 2}, 1, 4, "kpt0", {0, 0, 0, 0, kNan, 0});
  put(head, 12, 3, {2, 2, 2, 2}, 1, 3, "kpt0", {0, 0, 0, 0, 0, 0});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_EQ(boxes.detections.size(), 1u);
  EXPECT_EQ(postprocessor.not_finite().boxes, 1u);
}

TEST(Classes, AreTheBestFiveWhateverTheThreshold) {
  const auto model = model_of(classify_head(7), 7);
  Head head;
  head.add("output0", {7});
  head.maps[0].values = {0.05f, 0.3f, 0.01f, 0.3f, 0.14f, 0.1f, 0.1f};
  PostprocessOptions options;
  options.score_threshold = 0.9f;
  Postprocessor postprocessor = make(model, options);
  msgs::Detection2DArray boxes;
  boxes.detections.count = 3;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_TRUE(boxes.detections.empty());
  msgs::Classification found;
  postprocessor.classification(found);
  ASSERT_EQ(found.results.size(), 5u);
  const std::array<std::uint32_t, 5> order{1, 3, 4, 5, 6};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(found.results[i].hypothesis.class_id, order[i]);
    EXPECT_EQ(found.results[i].hypothesis.score, head.maps[0].values[order[i]]);
    EXPECT_EQ(found.results[i].class_name, model.class_names[order[i]]);
  }
  head.maps[0].values[2] = kNan;
  EXPECT_FALSE(postprocessor.run(head.tensors(), kTransform, boxes));
}

TEST(Classes, AreAsManyAsThereAre) {
  const auto model = model_of(classify_head(2), 2);
  Head head;
  head.add("output0", {2});
  head.maps[0].values = {0.25f, 0.75f};
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::Classification found;
  postprocessor.classification(found);
  ASSERT_EQ(found.results.size(), 2u);
  EXPECT_EQ(found.results[0].hypothesis.class_id, 1u);
}

TEST(Tasks, RefuseHeadsThatMakeNoSense) {
  using Model = msgs::ModelInfo;
  // Maps of a level: box, class scores, details.
  const struct {
    Model model;
    void (*change)(Model&);
    std::string why;
  } cases[] = {
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[2].point_values = 4; },
       "point_values is 4"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[2].point_values = 2; },
       "the maps of keypoints and keypoints differ"},
      {pose_model(OutputEncoding::kTwiceOffset),
       [](Model& m) { m.head.maps[2].channels = m.head.maps[5].channels = 65 * 3; },
       "keypoints is 65; it must be 1..64"},
      {pose_model(OutputEncoding::kTwiceOffset),
       [](Model& m) { m.head.maps[2].encoding = m.head.maps[5].encoding = OutputEncoding::kLogit; },
       "keypoints is logit"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[5].stride = 8; },
       "stride 8 has several maps of keypoints"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { m.head.maps[5].stride = 32; },
       "stride 32 has no boxes beside its maps of keypoints"},
      {pose_model(OutputEncoding::kTwiceOffset), [](Model& m) { --m.head.maps.count; },
       "1 of 2 strides have a map of keypoints"},
      {obb_model(OutputEncoding::kLogit),
       [](Model& m) { m.head.maps[2].channels = m.head.maps[5].channels = 2; },
       "angle channels is 2"},
      {segment_model(), [](Model& m) { --m.head.maps.count; },
       "the head has 0 maps of prototypes; it must have 1"},
      {segment_model(), [](Model& m) { m.head.maps[6].channels = 3; },
       "as many as the 2 coefficients"},
      {segment_model(), [](Model& m) { m.head.maps[6].stride = 3; }, "prototypes have stride 3"},
      {segment_model(), [](Model& m) { m.head.maps[6].stride = 0; }, "prototypes have stride 0"},
      {model_of(classify_head(3), 3),
       [](Model& m) { m.head.maps[0].encoding = OutputEncoding::kLogit; }, "class_score is logit"},
  };
  for (const auto& c : cases) {
    Model model = c.model;
    EXPECT_EQ(refusal_of(model), "");
    c.change(model);
    EXPECT_THAT(refusal_of(model), HasSubstr(c.why));
  }
}

TEST(Tasks, RefuseTensorsThatAreNotTheModels) {
  for (const auto& model : {pose_model(OutputEncoding::kCentreOffset), segment_model()}) {
    Head head = quiet_head(model);
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    Head missing = head;
    missing.maps.pop_back();
    EXPECT_FALSE(postprocessor.run(missing.tensors(), kTransform, boxes));
    head.maps.back().dims[0] += 1;
    EXPECT_FALSE(postprocessor.run(head.tensors(), kTransform, boxes));
  }
}

TEST(Tasks, AllocateNothingAfterTheFirstFrame) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 1);
  for (const auto& model : {pose_model(OutputEncoding::kCentreOffset),
                            obb_model(OutputEncoding::kLogit), segment_model()}) {
    Head head = quiet_head(model);
    for (Head::Map& map : head.maps) {
      const bool is_box = map.name.starts_with("box");
      for (float& value : map.values) value = normal(random) + (is_box ? 3.0f : 0.0f);
    }
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    const auto tensors = head.tensors();
    ASSERT_TRUE(postprocessor.run(tensors, kTransform, boxes));
    EXPECT_GT(boxes.detections.size(), 20u);
    const auto masks = std::make_unique<msgs::InstanceMask2DArray>();
    const auto keypoints = std::make_unique<msgs::KeypointDetection2DArray>();
    const auto turned = std::make_unique<msgs::OrientedDetection2DArray>();
    const test::AllocationGuard guard;
    ASSERT_TRUE(postprocessor.run(tensors, kTransform, boxes));
    if (postprocessor.task() == Task::kSegment) postprocessor.masks(*masks);
    if (postprocessor.task() == Task::kPose) postprocessor.keypoints(*keypoints);
    if (postprocessor.task() == Task::kObb) postprocessor.oriented_boxes(*turned);
    EXPECT_EQ(guard.count(), 0u);
  }
}

}  // namespace
}  // namespace fovea
