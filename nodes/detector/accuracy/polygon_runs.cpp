#include "nodes/detector/accuracy/polygon_runs.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace fovea {

std::vector<std::uint32_t> polygon_runs(std::span<const Point> outline, std::uint32_t width,
                                        std::uint32_t height) {
  std::vector<std::uint32_t> runs{0};
  const auto append = [&](bool in_object, std::uint32_t pixels) {
    if (pixels == 0) return;
    if ((runs.size() % 2 == 0) != in_object) runs.push_back(0);
    runs.back() += pixels;
  };
  // The first pixel whose centre lies at or behind y.
  const auto row_at = [&](double y) {
    return static_cast<std::uint32_t>(
        std::clamp(std::ceil(y - 0.5), 0.0, static_cast<double>(height)));
  };
  std::vector<double> crossings;
  for (std::uint32_t column = 0; column < width; ++column) {
    const double x = column + 0.5;
    crossings.clear();
    for (std::size_t i = 0; i < outline.size(); ++i) {
      const Point& a = outline[i];
      const Point& b = outline[(i + 1) % outline.size()];
      if ((a.x <= x) == (b.x <= x)) continue;
      const double along = (x - a.x) / (static_cast<double>(b.x) - a.x);
      crossings.push_back(a.y + along * (static_cast<double>(b.y) - a.y));
    }
    std::sort(crossings.begin(), crossings.end());
    std::uint32_t row = 0;
    for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
      const std::uint32_t first = row_at(crossings[i]);
      const std::uint32_t end = row_at(crossings[i + 1]);
      append(false, first - row);
      append(true, end - first);
      row = end;
    }
    append(false, height - row);
  }
  return runs;
}

}  // namespace fovea
