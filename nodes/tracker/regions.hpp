// Zones and lines in the picture, as a user writes them.
//
// Points are fractions of the picture, 0..1 from its upper left corner, so that one text holds for any
// size of picture.
//
//   "yard: 0.1 0.5  0.9 0.5  0.9 1  0.1 1"    a zone: a polygon of 3 to 64 corners, convex or not
//   "gate: 0.5 0.2  0.5 0.8"                  a line from the first point to the second
//
// Thread safety: plain values and pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea {

struct Point2D {
  double x = 0;
  double y = 0;

  bool operator==(const Point2D&) const = default;
};

struct Zone {
  static constexpr std::size_t kMaxCorners = 64;

  std::string name;
  std::vector<Point2D> corners;
};

struct Line {
  std::string name;
  Point2D from, to;
};

// Which point of a box counts.
enum class Anchor {
  kCenter,
  kBottomCenter,  // where what stands on the ground touches it
};

struct Regions {
  static constexpr std::size_t kMaxZones = 16;
  static constexpr std::size_t kMaxLines = 16;

  std::vector<Zone> zones;
  std::vector<Line> lines;
  Anchor anchor = Anchor::kCenter;
};

// Errors: kInvalidArgument with the name, the value and what would be valid: no name or one that is
// more than letters, digits, - and _, or longer than 31; what is no number or outside 0..1; too few
// or too many; a polygon whose sides cross or that has no area; a line without length.
Result<Zone> parse_zone(std::string_view text);
Result<Line> parse_line(std::string_view text);

// All of them. Errors: also for too many, and for a name that is given twice.
Result<Regions> make_regions(std::span<const std::string> zones, std::span<const std::string> lines,
                             Anchor anchor);

// On the edge is inside.
bool contains(const std::vector<Point2D>& polygon, Point2D point);

// Twice the area of the triangle: above 0 where `point` is to the right of whoever walks from `from` to
// `to`, as seen in the picture (y grows downwards), 0 on the line.
double side_of(Point2D from, Point2D to, Point2D point);

}  // namespace fovea
