// Where boxes are expected, from measurements made by hand.
#include "nodes/tracker/box_filter.hpp"

#include <cmath>

#include <gtest/gtest.h>

namespace fovea {
namespace {

constexpr double kFrame = 1.0 / 30;

msgs::BoundingBox2D at(double x, double y, double width = 40, double height = 80) {
  return {static_cast<float>(x), static_cast<float>(y), static_cast<float>(width),
          static_cast<float>(height)};
}

TEST(BoxFilter, StartsAtTheFirstBoxAndStands) {
  BoxFilter filter(at(100, 50));
  filter.predict(kFrame, true);
  EXPECT_EQ(filter.box(), at(100, 50));
}

TEST(BoxFilter, LearnsTheRateAndGoesOnWithIt) {
  BoxFilter filter(at(0, 500));
  for (int i = 1; i <= 30; ++i) {
    filter.predict(kFrame, true);
    filter.correct(at(6.0 * i, 500 - 3.0 * i));
  }
  filter.predict(10 * kFrame, false);
  EXPECT_NEAR(filter.box().center_x, 240, 3);
  EXPECT_NEAR(filter.box().center_y, 380, 3);
  EXPECT_NEAR(filter.box().size_x, 40, 0.1);
  EXPECT_NEAR(filter.box().size_y, 80, 0.1);
}

TEST(BoxFilter, UnevenFramesAreAsGoodAsEvenOnes) {
  BoxFilter filter(at(0, 100));
  double now = 0;
  for (const int frames : {1, 3, 1, 2, 1, 1, 5, 1, 2, 1, 1, 4, 1, 1, 2}) {
    now += frames * kFrame;
    filter.predict(frames * kFrame, true);
    filter.correct(at(180 * now, 100));
  }
  filter.predict(0.5, false);
  EXPECT_NEAR(filter.box().center_x, 180 * (now + 0.5), 4);
}

TEST(BoxFilter, AJumpingMeasurementIsSmoothed) {
  BoxFilter filter(at(100, 100));
  for (int i = 1; i <= 60; ++i) {
    filter.predict(kFrame, true);
    filter.correct(at(100 + (i % 2 == 0 ? 2 : -2), 100));
  }
  EXPECT_NEAR(filter.box().center_x, 100, 1.9);
  EXPECT_NE(filter.box().center_x, 100);
}

TEST(BoxFilter, TheSizeOfAHiddenObjectStays) {
  BoxFilter filter(at(100, 100, 60));
  for (int i = 1; i <= 20; ++i) {
    filter.predict(kFrame, true);
    filter.correct(at(100, 100, 60 - 2 * i));
  }
  const float before = filter.box().size_x;
  for (int i = 0; i < 30; ++i) filter.predict(kFrame, false);
  EXPECT_FLOAT_EQ(filter.box().size_x, before);
}

TEST(BoxFilter, ASizeThatShrinksToNothingStaysABox) {
  BoxFilter filter(at(100, 100, 60, 60));
  for (int i = 1; i <= 10; ++i) {
    filter.predict(kFrame, true);
    filter.correct(at(100, 100, 60 - 5 * i, 60 - 5 * i));
  }
  filter.predict(10, true);
  EXPECT_GE(filter.box().size_x, 1);
  filter.correct(at(100, 100, 50, 50));
  EXPECT_GT(filter.box().size_x, 10);
}

TEST(BoxFilter, TheLongestStepAndTheLargestBoxStayFinite) {
  BoxFilter filter(at(1e6, -1e6, 1e6, 1e-30));
  for (int i = 0; i < 100; ++i) {
    filter.predict(7200, i % 2 == 0);
    filter.correct(i % 3 == 0 ? at(-1e6, 1e6, 1e-30, 1e6) : at(1e6, 1e6, 1e6, 1e6));
    const msgs::BoundingBox2D box = filter.box();
    ASSERT_TRUE(std::isfinite(box.center_x + box.center_y + box.size_x + box.size_y)) << i;
  }
}

}  // namespace
}  // namespace fovea
