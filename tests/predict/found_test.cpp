// Messages of postprocess become objects.
#include "nodes/predict/found.hpp"

#include <memory>
#include <numbers>

#include <gtest/gtest.h>

namespace fovea::predict {
namespace {

constexpr float kQuarter = static_cast<float>(std::numbers::pi / 2);

std::vector<Object> two_objects() {
  const auto found = std::make_unique<msgs::Detection2DArray>();
  found->detections.push_back({{50, 40, 20, 10}, {3, 0.75f}, "ship"});
  found->detections.push_back({{10, 10, 4, 4}, {1, 0.5f}, "plane"});
  return objects_of(*found);
}

TEST(Found, BoxesAreCorners) {
  const auto objects = two_objects();
  ASSERT_EQ(objects.size(), 2U);
  EXPECT_EQ(objects[0].class_id, 3U);
  EXPECT_EQ(objects[0].class_name, "ship");
  EXPECT_EQ(objects[0].score, 0.75f);
  EXPECT_EQ(objects[0].box.x1, 40);
  EXPECT_EQ(objects[0].box.y1, 35);
  EXPECT_EQ(objects[0].box.x2, 60);
  EXPECT_EQ(objects[0].box.y2, 45);
}

TEST(Found, PointsKeepTheirOrder) {
  auto objects = two_objects();
  const auto found = std::make_unique<msgs::KeypointDetection2DArray>();
  msgs::KeypointDetection2D pose;
  pose.keypoints.push_back({1, 2, 0.25f});
  pose.keypoints.push_back({3, 4, 1});
  found->detections.push_back(pose);
  add_keypoints(*found, objects);  // one less than there are objects
  ASSERT_EQ(objects[0].keypoints.size(), 2U);
  EXPECT_EQ(objects[0].keypoints[0].visibility, 0.25f);
  EXPECT_EQ(objects[0].keypoints[1].x, 3);
  EXPECT_TRUE(objects[1].keypoints.empty());
}

TEST(Found, CornersGoClockwiseAlongTheWidthFirstAndTheBoxIsAroundThem) {
  auto objects = two_objects();
  const auto found = std::make_unique<msgs::OrientedDetection2DArray>();
  found->detections.push_back({{50, 40, 20, 10, 0}, {}, {}});
  found->detections.push_back({{5, 40, 20, 10, kQuarter}, {}, {}});
  add_corners(*found, objects);
  const auto expect_corners = [](const Object& object, const std::vector<Point>& corners) {
    ASSERT_EQ(object.corners.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(object.corners[i].x, corners[i].x, 1e-4) << i;
      EXPECT_NEAR(object.corners[i].y, corners[i].y, 1e-4) << i;
    }
  };
  expect_corners(objects[0], {{40, 35}, {60, 35}, {60, 45}, {40, 45}});
  expect_corners(objects[1], {{10, 30}, {10, 50}, {0, 50}, {0, 30}});
  EXPECT_NEAR(objects[1].box.x1, 0, 1e-4);
  EXPECT_NEAR(objects[1].box.y2, 50, 1e-4);
}

TEST(Found, ATurnedBoxsHullIsNotClipped) {
  auto objects = two_objects();
  const auto found = std::make_unique<msgs::OrientedDetection2DArray>();
  found->detections.push_back({{0, 0, 20, 10, 0}, {}, {}});
  add_corners(*found, objects);
  EXPECT_EQ(objects[0].box.x1, -10);
  EXPECT_EQ(objects[0].box.y1, -5);
}

TEST(Found, ClassesKeepTheirOrder) {
  msgs::Classification found;
  found.results.push_back({{281, 0.75f}, "tabby"});
  found.results.push_back({{7, 0.125f}, "cock"});
  const auto classes = classes_of(found);
  ASSERT_EQ(classes.size(), 2U);
  EXPECT_EQ(classes[1].class_id, 7U);
  EXPECT_EQ(classes[1].class_name, "cock");
  EXPECT_EQ(classes[1].score, 0.125f);
}

}  // namespace
}  // namespace fovea::predict
