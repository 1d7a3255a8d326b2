#include "nodes/detector/accuracy/similarity.hpp"

#include <algorithm>

namespace fovea {

double intersection_over_union(const ScoredObject& found, const ScoredObject& truth) {
  const double width = std::min<double>(found.x2, truth.x2) - std::max<double>(found.x1, truth.x1);
  const double height = std::min<double>(found.y2, truth.y2) - std::max<double>(found.y1, truth.y1);
  if (width <= 0 || height <= 0) return 0;
  const auto area = [](const ScoredObject& box) {
    return (static_cast<double>(box.x2) - box.x1) * (static_cast<double>(box.y2) - box.y1);
  };
  const double both = width * height;
  return both / (area(found) + area(truth) - both);
}

double turned_box_similarity(const ScoredObject& found, const ScoredObject& truth) {
  return overlap(found.turned, truth.turned);
}

Similarity similarity_of(Task task) {
  switch (task) {
    case Task::kSegment:
      return mask_intersection_over_union;
    case Task::kPose:
      return object_keypoint_similarity;
    case Task::kObb:
      return turned_box_similarity;
    default:
      break;
  }
  return intersection_over_union;
}

}  // namespace fovea
