// Intersection over union of boxes made by hand.
#include "nodes/tracker/overlap.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(Overlap, OfKnownBoxes) {
  EXPECT_FLOAT_EQ(overlap({0, 0, 10, 10}, {0, 0, 10, 10}), 1);
  EXPECT_FLOAT_EQ(overlap({0, 0, 10, 10}, {5, 0, 10, 10}), 50.0f / 150);
  EXPECT_FLOAT_EQ(overlap({0, 0, 10, 10}, {10, 0, 10, 10}), 0) << "they only touch";
  EXPECT_FLOAT_EQ(overlap({0, 0, 0, 0}, {0, 0, 0, 0}), 0);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  EXPECT_FLOAT_EQ(overlap({nan, 0, 10, 10}, {0, 0, 10, 10}), 0);
  EXPECT_FLOAT_EQ(overlap({0, 0, 10, 10}, {nan, 0, 10, 10}), 0);
  EXPECT_FLOAT_EQ(overlap({0, 0, infinite, 10}, {0, 0, infinite, 10}), 0);
}

}  // namespace
}  // namespace fovea
