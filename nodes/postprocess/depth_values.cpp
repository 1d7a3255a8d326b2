#include "nodes/postprocess/depth_values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fovea {

namespace {

// Along one axis of the map.
struct Place {
  std::uint32_t cell = 0;
  std::uint32_t next = 0;
  float share = 0;  // of the next one
  bool seen = false;
};

// Where the value `number` of `count` lies in the map of a network of so many pixels, of which the
// picture takes `scaled` from pixel `offset` on.
Place place_of(std::uint32_t number, std::uint32_t count, double scaled, double offset,
               double network) {
  const double of_picture = count == 1 ? 0 : static_cast<double>(number) / (count - 1);
  const double pixel = of_picture * (scaled - 1) + offset;
  double cell = network == 1 ? 0 : pixel * (count - 1) / (network - 1);
  if (std::abs(cell - std::round(cell)) < 1e-4) cell = std::round(cell);
  if (!(cell >= 0 && cell <= count - 1.0)) return {};
  const auto first = static_cast<std::uint32_t>(cell);
  return {first, std::min(first + 1, count - 1), static_cast<float>(cell - first), true};
}

float between(float a, float b, float share) { return share == 0 ? a : a + share * (b - a); }

}  // namespace

void write_depth(const DenseMap& map, const msgs::LetterboxTransform& transform,
                 msgs::DepthMap& out) {
  out.source_width = transform.source_width;
  out.source_height = transform.source_height;
  out.width = map.width;
  out.height = map.height;
  out.depth.clear();
  for (std::uint32_t y = 0; y < map.height; ++y) {
    const Place row =
        place_of(y, map.height, transform.new_height,
                 static_cast<double>(transform.pad_top) - transform.crop_top, transform.network_height);
    const float* upper = map.values + std::size_t{row.cell} * map.width;
    const float* lower = map.values + std::size_t{row.next} * map.width;
    for (std::uint32_t x = 0; x < map.width; ++x) {
      const Place column =
          place_of(x, map.width, transform.new_width,
                   static_cast<double>(transform.pad_left) - transform.crop_left, transform.network_width);
      float depth = std::numeric_limits<float>::quiet_NaN();
      if (row.seen && column.seen) {
        const auto of_row = [&](const float* cells) {
          return between(cells[column.cell], cells[column.next], column.share);
        };
        const float value =
            row.share == 0 ? of_row(upper) : between(of_row(upper), of_row(lower), row.share);
        if (std::isfinite(value) && value > 0) depth = value;
      }
      out.depth.push_back(depth);
    }
  }
}

}  // namespace fovea
