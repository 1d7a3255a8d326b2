// How alike objects are, against cases worked out by hand.
#include "nodes/detector/accuracy/similarity.hpp"

#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "nodes/detector/accuracy/polygon_runs.hpp"
#include "nodes/detector/accuracy/task_accuracy.hpp"

namespace fovea {
namespace {

ScoredObject masked(std::vector<std::uint32_t> runs) {
  ScoredObject object{0, 0, 10, 10, 0.9F, 0};
  object.mask_runs = std::move(runs);
  return object;
}

// 20 pixels of 100 each, 10 of them in both: 10 of 30.
TEST(MaskSimilarity, MasksThatShareHalf) {
  const ScoredObject a = masked({10, 20, 70});
  const ScoredObject b = masked({20, 20, 60});
  EXPECT_DOUBLE_EQ(mask_intersection_over_union(a, a), 1);
  EXPECT_DOUBLE_EQ(mask_intersection_over_union(a, b), 1.0 / 3);
  EXPECT_DOUBLE_EQ(mask_intersection_over_union(b, a), 1.0 / 3);
}

TEST(MaskSimilarity, RunsOfNoPixelAndMasksOfNoPixel) {
  // 0..9 and 90..99 against 0..9, whose first run is empty and whose last is missing.
  EXPECT_DOUBLE_EQ(mask_intersection_over_union(masked({0, 10, 80, 10}), masked({0, 10, 90})), 0.5);
  EXPECT_DOUBLE_EQ(mask_intersection_over_union(masked({10, 5, 0, 5, 80}), masked({10, 10, 80})),
                   1);
  EXPECT_EQ(mask_intersection_over_union(masked({100}), masked({100})), 0);
  EXPECT_EQ(mask_intersection_over_union(masked({}), masked({0, 100})), 0);
}

// `points` points at (50, 50) in a box of 100 x 100, moved right by `shift`.
ScoredObject posed(std::size_t points, float shift, float visibility = 1) {
  ScoredObject object{0, 0, 100, 100, 0.9F, 0};
  object.keypoints.assign(points, {50 + shift, 50, visibility});
  return object;
}

// area 5300, sigma 1/4: d^2 / (2 area (2 sigma)^2) = 100 / 2650.
TEST(KeypointSimilarity, KnownShift) {
  EXPECT_DOUBLE_EQ(object_keypoint_similarity(posed(4, 0), posed(4, 0)), 1);
  EXPECT_NEAR(object_keypoint_similarity(posed(4, 10), posed(4, 0)), std::exp(-100.0 / 2650), 1e-6);
  // Of 17 points, the nose has sigma 0.026.
  ScoredObject nose = posed(17, 0, 0);
  nose.keypoints[0].visibility = 1;
  EXPECT_NEAR(object_keypoint_similarity(posed(17, 10), nose),
              std::exp(-100 / (2 * 5300 * 4 * 0.026 * 0.026)), 1e-6);
}

TEST(KeypointSimilarity, PointsThatTheTruthDoesNotShowDoNotCount) {
  ScoredObject truth = posed(4, 0);
  truth.keypoints[3] = {5000, 0, 0};
  EXPECT_DOUBLE_EQ(object_keypoint_similarity(posed(4, 0), truth), 1);
  EXPECT_DOUBLE_EQ(object_keypoint_similarity(posed(4, 10, 1), posed(4, 0, 0)), 1) << "its box";
  EXPECT_EQ(object_keypoint_similarity(posed(5, 0), posed(4, 0)), 0);
}

TEST(TurnedBoxSimilarity, IsThatOfTheSuppression) {
  ScoredObject a{};
  ScoredObject b{};
  a.turned = {50, 50, 40, 10, 0.3F};
  b.turned = {52, 50, 40, 12, 0.5F};
  EXPECT_DOUBLE_EQ(turned_box_similarity(a, b), overlap(a.turned, b.turned));
  EXPECT_NEAR(turned_box_similarity(a, a), 1, 1e-3);
  b.turned = a.turned;
  b.turned.theta += std::numbers::pi_v<float> / 2;
  EXPECT_LT(turned_box_similarity(a, b), 0.7);
}

TEST(PolygonRuns, PixelsWhoseCentresLieWithin) {
  using Runs = std::vector<std::uint32_t>;
  const Point square[] = {{1, 1}, {3, 1}, {3, 3}, {1, 3}};
  EXPECT_EQ(polygon_runs(square, 4, 4), (Runs{5, 2, 2, 2, 5}));
  const Point all[] = {{0, 0}, {0, 4}, {4, 4}, {4, 0}};
  EXPECT_EQ(polygon_runs(all, 4, 4), (Runs{0, 16}));
  const Point between[] = {{0.6F, 0.6F}, {1.4F, 0.6F}, {1.4F, 1.4F}};
  EXPECT_EQ(polygon_runs(between, 4, 4), Runs{16});
  // Open at the right: two arms around a gap.
  const Point fork[] = {{0, 0}, {4, 0}, {4, 1}, {1, 1}, {1, 3}, {4, 3}, {4, 4}, {0, 4}};
  EXPECT_EQ(polygon_runs(fork, 4, 4), (Runs{0, 5, 2, 2, 2, 2, 2, 1}));
}

Answer one(ScoredObject object) { return {{std::move(object)}, {}}; }

TEST(TaskAccuracy, PoseIsJudgedByItsPointsAndNotByItsBoxes) {
  TaskAccuracy accuracy(Task::kPose);
  accuracy.add(one(posed(17, 0)), one(posed(17, 60)));  // the same box, every point elsewhere
  EXPECT_EQ(accuracy.score().map50_95, 0);
  EXPECT_EQ(accuracy.score().map50, 0);
  EXPECT_NEAR(accuracy.score().box_map50_95, 1, 1e-12);
}

TEST(TaskAccuracy, MasksAndTurnedBoxesAreJudgedAsSuch) {
  TaskAccuracy masks(Task::kSegment);
  masks.add(one(masked({10, 20, 70})), one(masked({20, 20, 60})));
  EXPECT_EQ(masks.score().map50, 0);
  EXPECT_NEAR(masks.score().box_map50_95, 1, 1e-12);
  ScoredObject along{0, 0, 100, 100, 0.9F, 0};
  ScoredObject across = along;
  along.turned = {50, 50, 80, 10, 0.785F};
  across.turned = {50, 50, 80, 10, -0.785F};
  TaskAccuracy turned(Task::kObb);
  turned.add(one(along), one(across));
  EXPECT_EQ(turned.score().map50, 0);
  EXPECT_NEAR(turned.score().box_map50_95, 1, 1e-12);
}

TEST(TaskAccuracy, ClassifierIsJudgedByItsBestClass) {
  TaskAccuracy accuracy(Task::kClassify);
  accuracy.add({{}, {3}}, {{}, {3, 1, 2}});
  accuracy.add({{}, {3}}, {{}, {1, 3, 2}});
  accuracy.add({{}, {3}}, {{}, {1, 2, 4}});
  accuracy.add({{}, {3}}, {});
  EXPECT_DOUBLE_EQ(accuracy.score().map50_95, 0.25);
  EXPECT_DOUBLE_EQ(accuracy.score().map50, 0.5);
  EXPECT_EQ(TaskAccuracy::difference_half_width(accuracy, accuracy), 0);
}

}  // namespace
}  // namespace fovea
