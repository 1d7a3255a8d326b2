#include "nodes/imaging/run_lengths.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

namespace fovea::imaging {

namespace {

// Calls visit(column, first row, end row) for every piece of a column that is in the object.
template <typename Visit>
void for_each_piece(RunLengths runs, std::uint32_t height, Visit visit) {
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::uint64_t end = at + runs[i];
    while (i % 2 == 1 && at < end) {
      const std::uint64_t column = at / height;
      const std::uint64_t column_end = std::min(end, (column + 1) * height);
      visit(static_cast<std::uint32_t>(column), static_cast<std::uint32_t>(at - column * height),
            static_cast<std::uint32_t>(column_end - column * height));
      at = column_end;
    }
    at = end;
  }
}

}  // namespace

bool covers(RunLengths runs, std::uint32_t width, std::uint32_t height) {
  return std::accumulate(runs.begin(), runs.end(), std::uint64_t{0}) ==
         std::uint64_t{width} * height;
}

std::uint64_t area_of(RunLengths runs) {
  std::uint64_t area = 0;
  for (std::size_t i = 1; i < runs.size(); i += 2) area += runs[i];
  return area;
}

std::optional<PixelArea> bounds_of(RunLengths runs, std::uint32_t height) {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  PixelArea area{kMost, kMost, 0, 0};
  for_each_piece(runs, height, [&](std::uint32_t x, std::uint32_t y1, std::uint32_t y2) {
    area = {std::min(area.x1, x), std::min(area.y1, y1), std::max(area.x2, x + 1),
            std::max(area.y2, y2)};
  });
  if (area.x2 == 0) return std::nullopt;
  return area;
}

Cover cover_of(RunLengths runs, std::uint32_t height, const PixelArea& area, std::uint8_t share) {
  const std::size_t width = area.x2 - area.x1;
  Cover cover{static_cast<int>(width), static_cast<int>(area.y2 - area.y1), {}};
  cover.share.assign(width * (area.y2 - area.y1), 0);
  for_each_piece(runs, height, [&](std::uint32_t x, std::uint32_t y1, std::uint32_t y2) {
    std::uint8_t* pixel = cover.share.data() + (y1 - area.y1) * width + (x - area.x1);
    for (std::uint32_t y = y1; y < y2; ++y, pixel += width) *pixel = share;
  });
  return cover;
}

}  // namespace fovea::imaging
