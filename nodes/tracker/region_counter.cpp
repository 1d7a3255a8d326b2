#include "nodes/tracker/region_counter.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "nodes/base/check.hpp"

namespace fovea {
namespace {

// Of the box's smaller side.
constexpr double kTremble = 1.0 / 20;

// Whether the way from `from` to `to`, which are on different sides of the line, passes it between its
// ends: these are on different sides of the way, or on it.
bool passes(const Line& line, Point2D from, Point2D to) {
  const double a = side_of(from, to, line.from), b = side_of(from, to, line.to);
  return (a <= 0 && b >= 0) || (a >= 0 && b <= 0);
}

}  // namespace

RegionCounter::RegionCounter(Regions regions) : regions_(std::move(regions)) {
  FOVEA_CHECK(regions_.lines.size() <= Regions::kMaxLines);
  inside_.resize(regions_.zones.size());
  for (auto& tracks : inside_) tracks.reserve(msgs::Detection2DArray::kMaxDetections);
  if (!regions_.lines.empty()) seen_.reserve(kMaxTracks);
}

// What is known of the track. The one that was not seen for longest gives way to a new one.
RegionCounter::Seen& RegionCounter::seen(std::uint64_t id) {
  const auto place = [&] {
    return std::lower_bound(seen_.begin(), seen_.end(), id,
                            [](const Seen& a, std::uint64_t wanted) { return a.id < wanted; });
  };
  auto found = place();
  if (found != seen_.end() && found->id == id) return *found;
  if (seen_.size() == kMaxTracks) {
    seen_.erase(std::min_element(seen_.begin(), seen_.end(),
                                 [](const Seen& a, const Seen& b) { return a.frame < b.frame; }));
    found = place();
  }
  return *seen_.insert(found, Seen{.id = id, .frame = frame_, .sides = {}});
}

void RegionCounter::update(const msgs::Track2DArray& tracks) {
  ++frame_;
  crossings_.clear();
  for (auto& inside : inside_) inside.clear();
  const double width = tracks.source_width, height = tracks.source_height;
  if (!(width > 0 && height > 0)) return;
  for (std::uint32_t t = 0; t < tracks.tracks.size(); ++t) {
    const msgs::Track2D& track = tracks.tracks[t];
    const msgs::BoundingBox2D& box = track.bbox;
    const float below = regions_.anchor == Anchor::kBottomCenter ? box.size_y / 2 : 0;
    const Point2D point{static_cast<double>(box.center_x) / width,
                        static_cast<double>(box.center_y + below) / height};
    const double tremble = kTremble * static_cast<double>(std::min(box.size_x, box.size_y));
    if (!std::isfinite(point.x + point.y + tremble)) continue;
    for (std::size_t z = 0; z < regions_.zones.size(); ++z) {
      if (contains(regions_.zones[z].corners, point)) inside_[z].push_back(t);
    }
    if (regions_.lines.empty()) continue;
    Seen& before = seen(track.id);
    before.frame = frame_;
    for (std::uint32_t l = 0; l < regions_.lines.size(); ++l) {
      const Line& line = regions_.lines[l];
      // Distance in px: twice the triangle's area, by the length of its base.
      const double area = side_of(line.from, line.to, point) * width * height;
      const double length =
          std::hypot((line.to.x - line.from.x) * width, (line.to.y - line.from.y) * height);
      if (!(std::abs(area) > tremble * length)) continue;
      const int side = area > 0 ? 1 : -1;
      Side& last = before.sides[l];
      if (last.side == -side && passes(line, last.point, point)) {
        crossings_.push_back({l, t, side > 0 ? Direction::kToRight : Direction::kToLeft});
      }
      last = {side, point};
    }
  }
}

}  // namespace fovea
