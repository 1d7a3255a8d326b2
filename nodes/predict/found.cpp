#include "nodes/predict/found.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

namespace fovea::predict {

namespace {

Box box_of(const msgs::BoundingBox2D& box) {
  return {box.center_x - box.size_x / 2, box.center_y - box.size_y / 2,
          box.center_x + box.size_x / 2, box.center_y + box.size_y / 2};
}

// In the order of corners: clockwise as seen, the first two along the box's own width.
std::vector<Point> corners_of(const msgs::OrientedBox2D& box) {
  const double along_x = std::cos(double{box.theta}) * box.size_x / 2;
  const double along_y = std::sin(double{box.theta}) * box.size_x / 2;
  const double across_x = -std::sin(double{box.theta}) * box.size_y / 2;
  const double across_y = std::cos(double{box.theta}) * box.size_y / 2;
  const auto corner = [&](int along, int across) {
    return Point{static_cast<float>(box.center_x + along * along_x + across * across_x),
                 static_cast<float>(box.center_y + along * along_y + across * across_y)};
  };
  return {corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)};
}

Box hull_of(const std::vector<Point>& corners) {
  const auto [left, right] = std::minmax({corners[0].x, corners[1].x, corners[2].x, corners[3].x});
  const auto [top, bottom] = std::minmax({corners[0].y, corners[1].y, corners[2].y, corners[3].y});
  return {left, top, right, bottom};
}

}  // namespace

std::vector<Object> objects_of(const msgs::Detection2DArray& found) {
  std::vector<Object> objects;
  for (const msgs::Detection2D& detection : found.detections) {
    objects.push_back({detection.hypothesis.class_id, std::string(detection.class_name.view()),
                       detection.hypothesis.score, box_of(detection.bbox)});
  }
  return objects;
}

std::vector<ClassScore> classes_of(const msgs::Classification& found) {
  std::vector<ClassScore> classes;
  for (const msgs::ClassScore& one : found.results) {
    classes.push_back(
        {one.hypothesis.class_id, std::string(one.class_name.view()), one.hypothesis.score});
  }
  return classes;
}

std::vector<ClassScore> classes_of(const msgs::SemanticMap& found) {
  const float all = static_cast<float>(found.width) * static_cast<float>(found.height);
  std::vector<ClassScore> classes;
  for (const msgs::SemanticClass& one : found.classes) {
    classes.push_back(
        {one.class_id, std::string(one.class_name.view()), static_cast<float>(one.pixels) / all});
  }
  return classes;
}

DepthMap depth_of(const msgs::DepthMap& found) {
  DepthMap depth{found.width, found.height, {found.depth.begin(), found.depth.end()}};
  std::vector<float> known;
  for (const float value : depth.values) {
    if (!std::isnan(value)) known.push_back(value);
  }
  if (known.empty()) return depth;
  const auto middle = known.begin() + static_cast<std::ptrdiff_t>(known.size() / 2);
  std::nth_element(known.begin(), middle, known.end());
  depth.median = *middle;
  const auto [nearest, farthest] = std::minmax_element(known.begin(), known.end());
  depth.nearest = *nearest;
  depth.farthest = *farthest;
  return depth;
}

void add_keypoints(const msgs::KeypointDetection2DArray& found, std::vector<Object>& objects) {
  for (std::size_t i = 0; i < std::min(objects.size(), found.detections.size()); ++i) {
    for (const msgs::Keypoint2D& point : found.detections[i].keypoints) {
      objects[i].keypoints.push_back({point.x, point.y, point.visibility});
    }
  }
}

void add_corners(const msgs::OrientedDetection2DArray& found, std::vector<Object>& objects) {
  for (std::size_t i = 0; i < std::min(objects.size(), found.detections.size()); ++i) {
    objects[i].corners = corners_of(found.detections[i].bbox);
    objects[i].box = hull_of(objects[i].corners);
  }
}

}  // namespace fovea::predict
