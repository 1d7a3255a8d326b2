#include "nodes/predict/object_columns.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "nodes/imaging/run_lengths.hpp"

namespace fovea::predict {

namespace {

std::string box_columns(const Box& box) {
  return fmt::format("  {:8.1f}  {:8.1f}  {:8.1f}  {:8.1f}", box.x1, box.y1, box.x2, box.y2);
}

// Pixels, and their share of the box.
std::string mask_columns(const Object& object) {
  if (object.mask.empty()) return fmt::format("  {:>8}  {:>6}", "-", "-");
  const auto pixels = static_cast<double>(imaging::area_of(object.mask));
  const Box& box = object.box;
  const double area = (double{box.x2} - box.x1) * (double{box.y2} - box.y1);
  const std::string share = area > 0 ? fmt::format("{:.0f} %", 100 * pixels / area) : "-";
  return fmt::format("  {:8.0f}  {:>6}", pixels, share);
}

// How many of them are visible.
std::string point_columns(const std::vector<Keypoint>& points) {
  const auto visible = std::count_if(points.begin(), points.end(), [](const Keypoint& point) {
    return point.visibility >= kVisible;
  });
  return fmt::format("  {:>7}", fmt::format("{}/{}", visible, points.size()));
}

// Centre, size, and the angle from the picture's x axis to the box's, clockwise, in degrees: 0..180,
// since a box has no front.
std::string turned_columns(const std::vector<Point>& corners) {
  if (corners.size() != 4) return "";
  const auto side = [&](std::size_t from, std::size_t to) {
    return std::pair{corners[to].x - corners[from].x, corners[to].y - corners[from].y};
  };
  const auto [width_x, width_y] = side(0, 1);
  const auto [height_x, height_y] = side(1, 2);
  double degrees = std::atan2(width_y, width_x) * 180 / std::numbers::pi;
  if (degrees < 0) degrees += 180;
  if (degrees >= 179.95) degrees = 0;  // as it would be written
  return fmt::format("  {:8.1f}  {:8.1f}  {:8.1f}  {:8.1f}  {:5.1f}",
                     (corners[0].x + corners[2].x) / 2, (corners[0].y + corners[2].y) / 2,
                     std::hypot(width_x, width_y), std::hypot(height_x, height_y), degrees);
}

}  // namespace

std::string_view object_head(Task task) {
  switch (task) {
    case Task::kSegment:
      return "        x1        y1        x2        y2    pixels  of box";
    case Task::kPose:
      return "        x1        y1        x2        y2  visible";
    case Task::kObb:
      return "         x         y         w         h  angle";
    case Task::kClassify:
    case Task::kSemantic:
    case Task::kDepth:
      return "";
    default:
      break;
  }
  return "        x1        y1        x2        y2";
}

std::string object_columns(const Object& object, Task task) {
  switch (task) {
    case Task::kSegment:
      return box_columns(object.box) + mask_columns(object);
    case Task::kPose:
      return box_columns(object.box) + point_columns(object.keypoints);
    case Task::kObb:
      return turned_columns(object.corners);
    default:
      break;
  }
  return box_columns(object.box);
}

}  // namespace fovea::predict
