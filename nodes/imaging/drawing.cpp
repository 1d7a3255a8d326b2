#include "nodes/imaging/drawing.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace fovea::imaging {

namespace {

constexpr int kFraction = 4;           // bits of a pixel's fraction in OpenCV's coordinates
constexpr std::uint8_t kTint = 110;    // of 255
constexpr double kLineShare = 0.0026;  // of the mean of width and height

cv::Mat view(const ImageTarget& picture) {
  return cv::Mat(static_cast<int>(picture.height), static_cast<int>(picture.width), CV_8UC3,
                 picture.data, picture.step);
}

cv::Scalar bgr(Colour colour) {
  return {double(colour.blue), double(colour.green), double(colour.red)};
}

// OpenCV's pixel centres lie at whole numbers, ours at halves.
int fixed_point(double value) {
  return static_cast<int>(std::lround((value - 0.5) * (1 << kFraction)));
}
cv::Point fixed_point(Point point) { return {fixed_point(point.x), fixed_point(point.y)}; }

bool is_finite(Point point) { return std::isfinite(point.x) && std::isfinite(point.y); }

// Its part within the picture and as much again around it (Liang and Barsky), so that coordinates
// stay small and no end of a line comes into sight.
std::optional<std::pair<Point, Point>> near_part(Point from, Point to, const ImageTarget& picture) {
  double first = 0;
  double last = 1;
  const auto keep = [&](double start, double step, double least, double most) {
    if (step == 0) return start >= least && start <= most;
    const auto [enter, leave] = std::minmax({(least - start) / step, (most - start) / step});
    first = std::max(first, enter);
    last = std::min(last, leave);
    return first <= last;
  };
  const double dx = double{to.x} - from.x;
  const double dy = double{to.y} - from.y;
  const double width = picture.width;
  const double height = picture.height;
  if (!keep(from.x, dx, -width, 2 * width) || !keep(from.y, dy, -height, 2 * height)) {
    return std::nullopt;
  }
  const auto at = [&](double part) {
    return Point{static_cast<float>(from.x + part * dx), static_cast<float>(from.y + part * dy)};
  };
  return std::pair{first > 0 ? at(first) : from, last < 1 ? at(last) : to};
}

}  // namespace

Drawing::Drawing(const ImageTarget& picture) : picture_(picture) {
  const double side =
      (static_cast<double>(picture.width) + static_cast<double>(picture.height)) / 2;
  line_width_ = std::max(1, static_cast<int>(std::lround(side * kLineShare)));
  letter_height_ = std::max(8.0, side * 0.0135);
}

bool Drawing::mask(RunLengths runs, Colour colour) {
  if (!covers(runs, picture_.width, picture_.height)) return false;
  const auto area = bounds_of(runs, picture_.height);
  if (!area) return true;
  Cover cover = cover_of(runs, picture_.height, *area, kTint);
  const auto x = static_cast<int>(area->x1);
  const auto y = static_cast<int>(area->y1);
  blend(picture_, x, y, cover, colour);
  const cv::Mat inside(cover.height, cover.width, CV_8UC1, cover.share.data());
  std::vector<std::vector<cv::Point>> edges;
  cv::findContours(inside, edges, cv::RETR_CCOMP, cv::CHAIN_APPROX_SIMPLE, {x, y});
  cv::Mat image = view(picture_);
  cv::polylines(image, edges, true, bgr(darker(colour)), line_width_ + 1, cv::LINE_AA);
  cv::polylines(image, edges, true, bgr(colour), line_width_, cv::LINE_AA);
  return true;
}

void Drawing::line(Point from, Point to, Colour colour, int width) {
  const auto part = near_part(from, to, picture_);
  if (!part) return;
  cv::Mat image = view(picture_);
  cv::line(image, fixed_point(part->first), fixed_point(part->second), bgr(colour), width,
           cv::LINE_AA, kFraction);
}

void Drawing::box(const Rectangle& box, Colour colour) {
  turned_box({{{box.x1, box.y1}, {box.x2, box.y1}, {box.x2, box.y2}, {box.x1, box.y2}}}, colour);
}

void Drawing::turned_box(const Corners& corners, Colour colour) {
  if (!std::all_of(corners.begin(), corners.end(), is_finite)) return;
  // A dark rim keeps it visible on a ground of its own colour.
  const int rim = line_width_ + std::max(2, line_width_ / 2);
  for (const auto& [shade, width] : {std::pair{darker(colour), rim}, {colour, line_width_}}) {
    for (std::size_t i = 0; i < 4; ++i) line(corners[i], corners[(i + 1) % 4], shade, width);
  }
}

void Drawing::limb(Point from, Point to, Colour colour) {
  if (!is_finite(from) || !is_finite(to)) return;
  line(from, to, darker(colour), line_width_ + std::max(2, line_width_ / 2) + 1);
  line(from, to, colour, line_width_ + 1);
}

void Drawing::joint(Point point, Colour colour) {
  if (!is_finite(point)) return;
  const float radius = 1.3f * static_cast<float>(line_width_) + 1;
  const float rim = radius + std::max(1.0f, static_cast<float>(line_width_) / 4);
  if (point.x < -rim || point.y < -rim || point.x > static_cast<float>(picture_.width) + rim ||
      point.y > static_cast<float>(picture_.height) + rim) {
    return;
  }
  cv::Mat image = view(picture_);
  const auto disc = [&](float size, Colour shade) {
    cv::circle(image, fixed_point(point),
               static_cast<int>(std::lround(size * static_cast<float>(1 << kFraction))), bgr(shade),
               cv::FILLED, cv::LINE_AA, kFraction);
  };
  disc(rim, darker(colour));
  disc(radius, colour);
}

}  // namespace fovea::imaging
