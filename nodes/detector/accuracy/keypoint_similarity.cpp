// Sigmas and formula: cocodataset.org, keypoint evaluation.
#include <array>
#include <cmath>
#include <cstddef>

#include "nodes/detector/accuracy/similarity.hpp"

namespace fovea {

namespace {

// Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
constexpr std::array kPersonSigmas = {0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
                                      0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089};
constexpr double kCovered = 0.53;  // of a box, by the person in it
constexpr float kShown = 0.5F;     // visibility

}  // namespace

double object_keypoint_similarity(const ScoredObject& found, const ScoredObject& truth) {
  const std::size_t points = truth.keypoints.size();
  if (found.keypoints.size() != points) return 0;
  const double area = kCovered * (static_cast<double>(truth.x2) - truth.x1) *
                      (static_cast<double>(truth.y2) - truth.y1);
  double sum = 0;
  std::size_t shown = 0;
  for (std::size_t i = 0; i < points; ++i) {
    const msgs::Keypoint2D& wanted = truth.keypoints[i];
    if (!(wanted.visibility >= kShown)) continue;
    ++shown;
    if (!(area > 0)) continue;
    const double dx = static_cast<double>(found.keypoints[i].x) - wanted.x;
    const double dy = static_cast<double>(found.keypoints[i].y) - wanted.y;
    const double sigma =
        points == kPersonSigmas.size() ? kPersonSigmas[i] : 1 / static_cast<double>(points);
    sum += std::exp(-(dx * dx + dy * dy) / (2 * area * 4 * sigma * sigma));
  }
  if (shown == 0) return intersection_over_union(found, truth);
  return sum / static_cast<double>(shown);
}

}  // namespace fovea
