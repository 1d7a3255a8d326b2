// Turned boxes, from raw maps to messages, and their suppression.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nodes/postprocess/postprocessor.hpp"
#include "tests/postprocess/task_heads.hpp"

namespace fovea {
namespace {

using namespace test;  // NOLINT: heads and what is in them

constexpr float kPi = std::numbers::pi_v<float>;

// A box of 32 x 16 around the cell's centre, turned by an eighth of a turn.
TEST(OrientedBoxes, ComeOutOfBothEncodingsWithUprightOnesAround) {
  for (const bool logit : {true, false}) {
    const auto model = obb_model(logit ? OutputEncoding::kLogit : OutputEncoding::kDecoded);
    Head head = quiet_head(model);
    // The sigmoid of 0 is a half: a quarter of pi.
    put(head, 9, 9, {2, 1, 2, 1}, 0, 4, "ang0", {logit ? 0.0f : kPi / 4});
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    msgs::OrientedDetection2DArray found;
    postprocessor.oriented_boxes(found);
    ASSERT_EQ(found.detections.size(), 1u);
    const msgs::OrientedBox2D& box = found.detections[0].bbox;
    EXPECT_NEAR(box.center_x, 152, 1e-3);
    EXPECT_NEAR(box.center_y, 112, 1e-3);
    EXPECT_NEAR(box.size_x, 64, 1e-3);
    EXPECT_NEAR(box.size_y, 32, 1e-3);
    EXPECT_NEAR(box.theta, kPi / 4, 1e-5);
    ASSERT_EQ(boxes.detections.size(), 1u);
    EXPECT_NEAR(boxes.detections[0].bbox.size_x, 96 / std::sqrt(2.0f), 1e-3);
    EXPECT_NEAR(boxes.detections[0].bbox.size_y, 96 / std::sqrt(2.0f), 1e-3);
  }
}

// Distances are along the box's own axes: turned by a quarter, what lies to its right is below.
TEST(OrientedBoxes, TurnTheirCentreWithThem) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  Head head = quiet_head(model);
  put(head, 9, 9, {1, 1, 3, 1}, 0, 4, "ang0", {kPi / 2});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::OrientedDetection2DArray found;
  postprocessor.oriented_boxes(found);
  ASSERT_EQ(found.detections.size(), 1u);
  EXPECT_NEAR(found.detections[0].bbox.center_x, 152, 1e-3);
  EXPECT_NEAR(found.detections[0].bbox.center_y, 112 + 16, 1e-3);
  EXPECT_NEAR(found.detections[0].bbox.theta, kPi / 2, 1e-5);
}

TEST(OrientedBoxes, ThatCrossAreTwoObjectsAndThatLieOnEachOtherOne) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  for (const bool cross : {true, false}) {
    Head head = quiet_head(model);
    put(head, 9, 9, {4, 1, 4, 1}, 0, 4, "ang0", {0});
    put(head, 9, 10, {5, 1, 3, 1}, 0, 3, "ang0", {cross ? kPi / 2 : 0});
    Postprocessor postprocessor = make(model);
    msgs::Detection2DArray boxes;
    ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
    EXPECT_EQ(boxes.detections.size(), cross ? 2u : 1u);
  }
}

TEST(OrientedBoxes, AreNoBoxesWithoutASizeOrAnAngle) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  Head head = quiet_head(model);
  put(head, 3, 3, {1, 1, -1, 1}, 0, 4, "ang0", {0.3f});
  put(head, 5, 3, {1, -1, 1, 1}, 0, 4, "ang0", {0.3f});
  put(head, 7, 3, {1, 1, 1, 1}, 0, 4, "ang0", {std::numeric_limits<float>::infinity()});
  put(head, 9, 3, {1, 1, 1, 1}, 0, 4, "ang0", {0.3f});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  EXPECT_EQ(boxes.detections.size(), 1u);
  EXPECT_EQ(postprocessor.not_finite().boxes, 1u);
}

TEST(OrientedBoxes, OfNegativeSizeAreTheSameRectangleMirrored) {
  const auto model = obb_model(OutputEncoding::kDecoded);
  Head head = quiet_head(model);
  put(head, 9, 9, {-2, 1, -2, 1}, 0, 4, "ang0", {0.3f});
  Postprocessor postprocessor = make(model);
  msgs::Detection2DArray boxes;
  ASSERT_TRUE(postprocessor.run(head.tensors(), kTransform, boxes));
  msgs::OrientedDetection2DArray found;
  postprocessor.oriented_boxes(found);
  ASSERT_EQ(found.detections.size(), 1u);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_x, 64);
  EXPECT_FLOAT_EQ(found.detections[0].bbox.size_y, 32);
}

TEST(TurnedBoxes, OverlapAsTheirGaussiansDo) {
  const TurnedBox box{50, 50, 40, 10, 0.4f};
  EXPECT_NEAR(overlap(box, box), 1, 1e-3);
  // Half a turn is the same box; a quarter with exchanged sides, too.
  EXPECT_NEAR(overlap(box, {50, 50, 40, 10, 0.4f + kPi}), 1, 1e-3);
  EXPECT_NEAR(overlap(box, {50, 50, 10, 40, 0.4f + kPi / 2}), 1, 1e-3);
  EXPECT_NEAR(overlap(box, {50, 500, 40, 10, 0.4f}), 0, 1e-3);
  // Two Gaussians of one axis, d apart, of variance v: the distance is d * d / (8 * v).
  const float variance = 40.0f * 40 / 12;
  const float apart = 12;
  const float expected = 1 - std::sqrt(1 - std::exp(-apart * apart / (8 * variance)));
  EXPECT_NEAR(overlap({0, 0, 40, 10, 0}, {apart, 0, 40, 10, 0}), expected, 1e-3);
}

// The plain way: every pair.
TEST(TurnedBoxes, AreSuppressedByThoseOfHigherScoresThatOverlapThem) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> position(0, 200), size(5, 60), angle(-4, 4), unit(0, 1);
  std::vector<TurnedSuppression::Box> boxes;
  for (int i = 0; i < 400; ++i) {
    boxes.push_back(
        {{position(random), position(random), size(random), size(random), angle(random)},
         std::round(unit(random) * 50) / 50,
         static_cast<std::uint32_t>(random() % 2)});
  }
  for (const bool agnostic : {false, true}) {
    for (const float threshold : {0.0f, 0.1f, 0.45f, 0.9f, 1.0f}) {
      PostprocessOptions options;
      options.iou_threshold = threshold;
      options.class_agnostic = agnostic;
      std::vector<std::uint32_t> expected;
      std::vector<std::uint32_t> order(boxes.size());
      std::iota(order.begin(), order.end(), 0u);
      std::stable_sort(order.begin(), order.end(),
                       [&](auto a, auto b) { return boxes[a].score > boxes[b].score; });
      for (std::size_t i = 0; i < order.size(); ++i) {
        bool stays = true;
        for (std::size_t k = 0; k < i; ++k) {
          const auto& a = boxes[order[k]];
          const auto& b = boxes[order[i]];
          if (!agnostic && a.class_id != b.class_id) continue;
          stays = stays && !(overlap(a.box, b.box) > threshold);
        }
        if (stays && expected.size() < options.max_detections) expected.push_back(order[i]);
      }
      TurnedSuppression suppression;
      const auto kept = suppression.run(boxes, options);
      EXPECT_EQ(std::vector<std::uint32_t>(kept.begin(), kept.end()), expected)
          << threshold << (agnostic ? " agnostic" : "");
    }
  }
}

}  // namespace
}  // namespace fovea
