// Average precision against cases worked out by hand.
#include "nodes/detector/accuracy/accuracy.hpp"

#include <gtest/gtest.h>

namespace fovea {
namespace {

// A box of 10 x 10 shifted right by `shift`: overlaps the one at 0 by (10 - shift) / (10 + shift).
ScoredObject box(float shift, float score = 0, std::uint32_t class_id = 0) {
  return {shift, 0, shift + 10, 10, score, class_id};
}

TEST(IntersectionOverUnion, KnownOverlaps) {
  EXPECT_DOUBLE_EQ(intersection_over_union(box(0), box(0)), 1);
  EXPECT_DOUBLE_EQ(intersection_over_union(box(0), box(5)), 1.0 / 3);
  EXPECT_DOUBLE_EQ(intersection_over_union(box(0), box(10)), 0);
  EXPECT_DOUBLE_EQ(intersection_over_union({3, 3, 3, 3}, {3, 3, 3, 3}), 0) << "no area";
}

TEST(Accuracy, PerfectDetectionsScoreOne) {
  const PictureResult pictures[] = {{{box(0), box(20)}, {box(0, 0.9F), box(20, 0.8F)}}};
  const Accuracy accuracy = evaluate_accuracy(pictures);
  EXPECT_DOUBLE_EQ(accuracy.map50, 1);
  EXPECT_NEAR(accuracy.map50_95, 1, 1e-12);
  EXPECT_EQ(accuracy.boxes, 2U);
}

TEST(Accuracy, NothingFoundOrNothingThereScoresZero) {
  const PictureResult missed[] = {{{box(0)}, {}}};
  EXPECT_EQ(evaluate_accuracy(missed).map50, 0);
  const PictureResult empty[] = {{{}, {box(0, 0.9F)}}};
  EXPECT_EQ(evaluate_accuracy(empty).map50, 0);
  EXPECT_TRUE(evaluate_accuracy(empty).classes.empty());
  EXPECT_EQ(evaluate_accuracy({}).pictures, 0U);
}

// Hit (0.9), miss (0.8), hit (0.7) on two boxes: recall 0.5 at precision 1, recall 1 at precision
// 2/3. Recalls 0..0.5 (51 points) read 1, the other 50 read 2/3.
TEST(Accuracy, FalsePositiveBetweenTwoHits) {
  const PictureResult pictures[] = {
      {{box(0), box(100)}, {box(0, 0.9F), box(50, 0.8F), box(100, 0.7F)}}};
  EXPECT_NEAR(evaluate_accuracy(pictures).map50, (51 + 50 * 2.0 / 3) / 101, 1e-12);
}

// One of two boxes found: recall never exceeds 0.5, so 51 points of 101 count.
TEST(Accuracy, MissedBoxLimitsRecall) {
  const PictureResult pictures[] = {{{box(0), box(100)}, {box(0, 0.9F)}}};
  EXPECT_NEAR(evaluate_accuracy(pictures).map50, 51.0 / 101, 1e-12);
}

// Miss first: precision 1/2 everywhere.
TEST(Accuracy, ScoresOrderDetectionsAcrossPictures) {
  const PictureResult pictures[] = {{{box(0)}, {box(0, 0.5F)}}, {{}, {box(0, 0.9F)}}};
  EXPECT_NEAR(evaluate_accuracy(pictures).map50, 0.5, 1e-12);
}

TEST(Accuracy, SecondDetectionOfOneBoxIsFalse) {
  // Hit, miss on the same box: precision at recall 1 is already 1.
  const PictureResult after[] = {{{box(0)}, {box(0, 0.9F), box(0, 0.8F)}}};
  EXPECT_NEAR(evaluate_accuracy(after).map50, 1, 1e-12);
  // With a second box found last, the duplicate costs: recall 1 at precision 2/3.
  const PictureResult before[] = {{{box(0), box(50)}, {box(0, 0.9F), box(0, 0.8F), box(50, 0.7F)}}};
  EXPECT_NEAR(evaluate_accuracy(before).map50, (51 + 50 * 2.0 / 3) / 101, 1e-12);
}

TEST(Accuracy, DetectionTakesTheBoxItOverlapsMost) {
  // The first detection overlaps both boxes; if it took the wrong one, the second would match
  // nothing.
  const PictureResult pictures[] = {{{box(0), box(2)}, {box(2, 0.9F), box(0, 0.8F)}}};
  EXPECT_NEAR(evaluate_accuracy(pictures).map50_95, 1, 1e-12);
}

// A shift of 2 in 10 overlaps by 8/12 = 0.667: hits at 0.50, 0.55, 0.60, 0.65 only.
TEST(Accuracy, LooseBoxCountsAtLooseThresholds) {
  const PictureResult pictures[] = {{{box(0)}, {box(2, 0.9F)}}};
  const Accuracy accuracy = evaluate_accuracy(pictures);
  EXPECT_NEAR(accuracy.map50, 1, 1e-12);
  EXPECT_NEAR(accuracy.map50_95, 0.4, 1e-12);
}

TEST(Accuracy, OverlapEqualToTheThresholdIsAHit) {
  const PictureResult pictures[] = {{{{0, 0, 10, 10}}, {{0, 0, 10, 5, 0.9F}}}};
  EXPECT_NEAR(evaluate_accuracy(pictures).map50, 1, 1e-12);
  EXPECT_NEAR(evaluate_accuracy(pictures).map50_95, 0.1, 1e-12);
}

TEST(Accuracy, ClassesAreApartAndThoseWithoutBoxesAreLeftOut) {
  const PictureResult pictures[] = {
      {{box(0, 0, 1), box(0, 0, 4)}, {box(0, 0.9F, 1), box(0, 0.9F, 2), box(0, 0.9F, 3)}}};
  const Accuracy accuracy = evaluate_accuracy(pictures);
  ASSERT_EQ(accuracy.classes.size(), 2U);
  EXPECT_EQ(accuracy.classes[0].class_id, 1U);
  EXPECT_EQ(accuracy.classes[1].class_id, 4U);
  EXPECT_NEAR(accuracy.map50, 0.5, 1e-12);
}

TEST(MapDifference, IsCertainOnlyIfAllPicturesAgree) {
  AccuracyTally good;
  AccuracyTally mixed;
  for (int i = 0; i < 40; ++i) {
    good.add(std::vector{box(0)}, std::vector{box(0, 0.9F)});
    mixed.add(std::vector{box(0)}, std::vector{box(i % 2 == 0 ? 0.0F : 50.0F, 0.9F)});
  }
  const auto half_width = [](const AccuracyTally& a, const AccuracyTally& b) {
    return AccuracyTally::difference_half_width(a, b);
  };
  EXPECT_EQ(half_width(good, good), 0);
  const double width = half_width(good, mixed);
  EXPECT_GT(width, 0.02);
  EXPECT_LT(width, 0.4);
  EXPECT_EQ(half_width(good, mixed), width) << "the same every time";
  EXPECT_EQ(half_width(AccuracyTally(), AccuracyTally()), 0);
}

}  // namespace
}  // namespace fovea
