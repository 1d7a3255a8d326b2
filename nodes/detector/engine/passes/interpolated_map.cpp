#include "nodes/detector/engine/passes/interpolated_map.hpp"

#include <algorithm>
#include <cmath>

namespace fovea::engine {

InterpolatedMap::InterpolatedMap(const reference::Tensor& map, std::int64_t height,
                                 std::int64_t width, CellPlace place)
    : map_(map),
      rows_(steps(map.dims[2], height, place)),
      columns_(steps(map.dims[3], width, place)) {}

std::vector<InterpolatedMap::Step> InterpolatedMap::steps(std::int64_t cells, std::int64_t pixels,
                                                          CellPlace place) {
  std::vector<Step> steps;
  const auto many = static_cast<double>(cells);
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    const auto at = static_cast<double>(pixel);
    double cell = (at + 0.5) * many / static_cast<double>(pixels) - 0.5;
    if (place == CellPlace::kCorners) {
      cell = pixels == 1 ? 0 : at * (many - 1) / static_cast<double>(pixels - 1);
    }
    cell = std::clamp(cell, 0.0, many - 1);
    const auto first = static_cast<std::int64_t>(cell);
    steps.push_back({first, std::min(first + 1, cells - 1),
                     static_cast<float>(cell - static_cast<double>(first))});
  }
  return steps;
}

float InterpolatedMap::at(std::int64_t channel, std::int64_t y, std::int64_t x) const {
  const Step& row = rows_[static_cast<std::size_t>(y)];
  const Step& column = columns_[static_cast<std::size_t>(x)];
  const float* plane = map_.data<float>() + channel * map_.dims[2] * map_.dims[3];
  const auto between = [&](std::int64_t line) {
    const float* cells = plane + line * map_.dims[3];
    return cells[column.cell] + column.share * (cells[column.next] - cells[column.cell]);
  };
  const float upper = between(row.cell);
  return upper + row.share * (between(row.next) - upper);
}

}  // namespace fovea::engine
