// The pixels within a polygon, as labels of masks are drawn.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea {

struct Point {
  float x = 0;
  float y = 0;
};

// The runs, as msgs::InstanceMask2D, of a picture of `width` x `height` pixels whose centres lie
// within the outline (pixels; even-odd rule, its last point is joined to its first). REQUIRES:
// finite points.
std::vector<std::uint32_t> polygon_runs(std::span<const Point> outline, std::uint32_t width,
                                        std::uint32_t height);

}  // namespace fovea
