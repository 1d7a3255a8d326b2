#include "nodes/postprocess/turned_box.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nodes/postprocess/score_order.hpp"

namespace fovea {

namespace {

constexpr float kEpsilon = 1e-7f;

Gaussian gaussian_of(const TurnedBox& box) {
  const float along = box.size_x * box.size_x / 12;
  const float across = box.size_y * box.size_y / 12;
  const float cosine = std::cos(box.theta);
  const float sine = std::sin(box.theta);
  const float xx = along * cosine * cosine + across * sine * sine;
  const float yy = along * sine * sine + across * cosine * cosine;
  const float xy = (along - across) * cosine * sine;
  return {box.center_x, box.center_y, xx, yy, xy, std::max(xx * yy - xy * xy, 0.0f)};
}

// Bhattacharyya's distance in two parts: what comes of the centres, and of the shapes, which is never
// negative and costs a logarithm.
float distance_of_centres(const Gaussian& a, const Gaussian& b, float& determinant) {
  const float xx = a.xx + b.xx;
  const float yy = a.yy + b.yy;
  const float xy = a.xy + b.xy;
  const float dx = a.x - b.x;
  const float dy = a.y - b.y;
  determinant = xx * yy - xy * xy;
  return (0.25f * (xx * dy * dy + yy * dx * dx) - 0.5f * xy * dx * dy) / (determinant + kEpsilon);
}
float distance_of_shapes(const Gaussian& a, const Gaussian& b, float determinant) {
  const float own = 4 * std::sqrt(a.determinant * b.determinant) + kEpsilon;
  return 0.5f * std::log(determinant / own + kEpsilon);
}

float overlap_at(float distance) {
  return 1 - std::sqrt(1 - std::exp(-std::clamp(distance, kEpsilon, 100.0f)) + kEpsilon);
}

// The distance at which the overlap is this.
float distance_at(float overlap) {
  const float hellinger = (1 - overlap) * (1 - overlap);
  return -std::log(std::max(1 + kEpsilon - hellinger, std::numeric_limits<float>::min()));
}

}  // namespace

UprightBox upright(const TurnedBox& box) {
  if (std::isfinite(box.size_x) && std::isfinite(box.size_y) &&
      (box.size_x <= 0 || box.size_y <= 0)) {
    return {box.center_x, box.center_y, box.center_x, box.center_y};
  }
  const float cosine = std::abs(std::cos(box.theta));
  const float sine = std::abs(std::sin(box.theta));
  const float half_width = (box.size_x * cosine + box.size_y * sine) / 2;
  const float half_height = (box.size_x * sine + box.size_y * cosine) / 2;
  return {box.center_x - half_width, box.center_y - half_height, box.center_x + half_width,
          box.center_y + half_height};
}

float overlap(const TurnedBox& a, const TurnedBox& b) {
  const Gaussian first = gaussian_of(a);
  const Gaussian second = gaussian_of(b);
  float determinant = 0;
  const float centres = distance_of_centres(first, second, determinant);
  return overlap_at(centres + distance_of_shapes(first, second, determinant));
}

void TurnedSuppression::reserve(std::size_t boxes) {
  order_.reserve(boxes);
  before_.reserve(boxes);
  kept_.reserve(msgs::Detection2DArray::kMaxDetections);
}

std::span<const std::uint32_t> TurnedSuppression::run(std::span<const Box> boxes,
                                                      const PostprocessOptions& options) {
  sort_by_score(boxes, order_);
  const float limit = distance_at(options.iou_threshold);
  kept_.clear();
  before_.clear();
  for (const std::uint64_t entry : order_) {
    if (kept_.size() >= options.max_detections) break;
    const auto number = static_cast<std::uint32_t>(entry);
    Gaussian gaussian = gaussian_of(boxes[number].box);
    gaussian.class_id = options.class_agnostic ? 0 : boxes[number].class_id;
    const bool goes = std::any_of(before_.begin(), before_.end(), [&](const Gaussian& other) {
      if (other.class_id != gaussian.class_id) return false;
      float determinant = 0;
      const float centres = distance_of_centres(gaussian, other, determinant);
      return centres < limit && centres + distance_of_shapes(gaussian, other, determinant) < limit;
    });
    if (!goes) kept_.push_back(number);
    before_.push_back(gaussian);
  }
  return kept_;
}

}  // namespace fovea
