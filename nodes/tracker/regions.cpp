#include "nodes/tracker/regions.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "nodes/base/text.hpp"

namespace fovea {
namespace {

constexpr std::size_t kMaxName = 31;
constexpr std::string_view kSpaces = " \t,";

struct Named {
  std::string name;
  std::vector<Point2D> points;
};

template <class... Args>
tl::unexpected<Error> refused(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

Result<double> fraction(std::string_view name, std::string_view word) {
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size() || !std::isfinite(value)) {
    return refused("'{}' has '{}', which is no number", name, said(word));
  }
  if (value < 0 || value > 1) {
    return refused("'{}' has {}; points are fractions of the picture's width and height, 0..1",
                   name, said(word));
  }
  return value;
}

Result<Named> parse(std::string_view text, std::string_view example) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    return refused("'{}' has no name; it must be such as '{}'", said(text), example);
  }
  Named named{std::string(text.substr(0, colon)), {}};
  named.name.erase(named.name.find_last_not_of(' ') + 1);
  if (!is_name(named.name)) {
    return refused("name is '{}'; it must be 1 to {} letters, digits, - and _", said(named.name),
                   kMaxName);
  }
  std::vector<double> values;
  for (std::string_view rest = text.substr(colon + 1);;) {
    const std::size_t begin = rest.find_first_not_of(kSpaces);
    if (begin == std::string_view::npos) break;
    rest.remove_prefix(begin);
    const std::size_t length = std::min(rest.find_first_of(kSpaces), rest.size());
    FOVEA_ASSIGN(const double value, fraction(named.name, rest.substr(0, length)));
    values.push_back(value);
    rest.remove_prefix(length);
  }
  if (values.size() % 2 != 0) {
    return refused("'{}' has {} numbers; a point is two, x and y", named.name, values.size());
  }
  for (std::size_t i = 0; i < values.size(); i += 2) {
    named.points.push_back({values[i], values[i + 1]});
  }
  return named;
}

// Whether `point`, which is on the line through both ends, lies between them.
bool is_between(Point2D from, Point2D to, Point2D point) {
  return std::min(from.x, to.x) <= point.x && point.x <= std::max(from.x, to.x) &&
         std::min(from.y, to.y) <= point.y && point.y <= std::max(from.y, to.y);
}

bool is_on(Point2D from, Point2D to, Point2D point) {
  return side_of(from, to, point) == 0 && is_between(from, to, point);
}

// Touching is crossing.
bool cross(Point2D a, Point2D b, Point2D c, Point2D d) {
  const auto sign = [](double value) { return (value > 0) - (value < 0); };
  if (sign(side_of(a, b, c)) * sign(side_of(a, b, d)) < 0 &&
      sign(side_of(c, d, a)) * sign(side_of(c, d, b)) < 0) {
    return true;
  }
  return is_on(a, b, c) || is_on(a, b, d) || is_on(c, d, a) || is_on(c, d, b);
}

double area_of(std::span<const Point2D> corners) {
  double twice = 0;
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const Point2D a = corners[i], b = corners[(i + 1) % corners.size()];
    twice += a.x * b.y - b.x * a.y;
  }
  return std::abs(twice) / 2;
}

template <class T>
Result<> add_all(std::string_view what, std::span<const std::string> texts, std::size_t most,
                 Result<T> (*parse_one)(std::string_view), std::vector<T>& to) {
  if (texts.size() > most)
    return refused("{} has {}; at most {} are counted", what, texts.size(), most);
  for (const std::string& text : texts) {
    FOVEA_ASSIGN(T made, parse_one(text));
    for (const T& other : to) {
      if (other.name == made.name) return refused("{}: '{}' is given twice", what, made.name);
    }
    to.push_back(std::move(made));
  }
  return {};
}

}  // namespace

double side_of(Point2D from, Point2D to, Point2D point) {
  return (to.x - from.x) * (point.y - from.y) - (to.y - from.y) * (point.x - from.x);
}

Result<Zone> parse_zone(std::string_view text) {
  FOVEA_ASSIGN(Named named, parse(text, "yard: 0.1 0.5 0.9 0.5 0.5 1"));
  const std::vector<Point2D>& corners = named.points;
  const std::size_t count = corners.size();
  if (count < 3 || count > Zone::kMaxCorners) {
    return refused("'{}' has {} corners; a zone has 3 to {}", named.name, count, Zone::kMaxCorners);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const Point2D a = corners[i], b = corners[(i + 1) % count];
    if (a == b) {
      return refused("'{}' has the corner {} {} twice in a row", named.name, a.x, a.y);
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const Point2D a = corners[i], b = corners[(i + 1) % count];
    for (std::size_t j = i + 2; j < count; ++j) {
      const Point2D c = corners[j], d = corners[(j + 1) % count];
      if ((j + 1) % count == i) continue;  // neighbours share a corner
      if (cross(a, b, c, d)) {
        return refused(
            "'{}' crosses or touches itself: its side {} {} to {} {} and that from {} {} to {} {}",
            named.name, a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y);
      }
    }
  }
  constexpr double kLeastArea = 1e-6;  // a pixel of a picture of 1000 x 1000
  if (area_of(corners) < kLeastArea) return refused("'{}' has no area", named.name);
  return Zone{std::move(named.name), std::move(named.points)};
}

Result<Line> parse_line(std::string_view text) {
  FOVEA_ASSIGN(Named named, parse(text, "gate: 0.5 0.2 0.5 0.8"));
  if (named.points.size() != 2) {
    return refused("'{}' has {} points; a line has 2", named.name, named.points.size());
  }
  if (named.points[0] == named.points[1]) {
    return refused("'{}' begins and ends at {} {}; a line has a length", named.name,
                   named.points[0].x, named.points[0].y);
  }
  return Line{std::move(named.name), named.points[0], named.points[1]};
}

Result<Regions> make_regions(std::span<const std::string> zones, std::span<const std::string> lines,
                             Anchor anchor) {
  Regions regions;
  regions.anchor = anchor;
  FOVEA_TRY(add_all("zones", zones, Regions::kMaxZones, &parse_zone, regions.zones));
  FOVEA_TRY(add_all("lines", lines, Regions::kMaxLines, &parse_line, regions.lines));
  return regions;
}

bool contains(const std::vector<Point2D>& polygon, Point2D point) {
  bool is_inside = false;
  for (std::size_t i = 0; i < polygon.size(); ++i) {
    const Point2D a = polygon[i], b = polygon[(i + 1) % polygon.size()];
    if (is_on(a, b, point)) return true;
    // A ray to the left passes the side. Of a corner only one of its sides takes part.
    if ((a.y > point.y) != (b.y > point.y)) {
      const double side = side_of(a, b, point);
      if ((b.y > a.y) == (side < 0)) is_inside = !is_inside;
    }
  }
  return is_inside;
}

}  // namespace fovea
