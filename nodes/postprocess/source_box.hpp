// From network pixels to the source picture: the one place that decides what of a box is visible.
#pragma once

#include <algorithm>

#include "msgs/detection.hpp"
#include "msgs/tensor.hpp"

namespace fovea {

// The box clipped to the source picture. Its size is 0 along an axis on which it lies wholly in the
// letterbox's border.
inline msgs::BoundingBox2D to_source(float box_x1, float box_y1, float box_x2, float box_y2,
                                     const msgs::LetterboxTransform& transform) {
  const auto width = static_cast<float>(transform.source_width);
  const auto height = static_cast<float>(transform.source_height);
  const float x1 = std::clamp(transform.source_x(box_x1), 0.0f, width);
  const float y1 = std::clamp(transform.source_y(box_y1), 0.0f, height);
  const float x2 = std::clamp(transform.source_x(box_x2), 0.0f, width);
  const float y2 = std::clamp(transform.source_y(box_y2), 0.0f, height);
  return {
      .center_x = (x1 + x2) / 2, .center_y = (y1 + y2) / 2, .size_x = x2 - x1, .size_y = y2 - y1};
}

}  // namespace fovea
