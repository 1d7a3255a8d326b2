#include "nodes/tracker/overlap.hpp"

#include <algorithm>
#include <cmath>

namespace fovea {

float overlap(const msgs::BoundingBox2D& a, const msgs::BoundingBox2D& b) {
  // A sum is finite only if all its parts are; min() and max() would swallow a NaN.
  if (!std::isfinite(a.center_x + a.center_y + a.size_x + a.size_y + b.center_x + b.center_y +
                     b.size_x + b.size_y)) {
    return 0;
  }
  const auto shared = [](float center_a, float size_a, float center_b, float size_b) {
    return std::min(center_a + size_a / 2, center_b + size_b / 2) -
           std::max(center_a - size_a / 2, center_b - size_b / 2);
  };
  const float width = shared(a.center_x, a.size_x, b.center_x, b.size_x);
  if (!(width > 0)) return 0;
  const float height = shared(a.center_y, a.size_y, b.center_y, b.size_y);
  if (!(height > 0)) return 0;
  const float both = width * height;
  const float all = a.size_x * a.size_y + b.size_x * b.size_y - both;
  return all > 0 && std::isfinite(all) ? both / all : 0;
}

}  // namespace fovea
