// Labels and panels of a Drawing.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/core.h>

#include "nodes/imaging/cover.hpp"
#include "nodes/imaging/drawing.hpp"

namespace fovea::imaging {

namespace {

int rounded(double value) { return static_cast<int>(std::lround(value)); }

int whole_pixel(float value, int most) {
  return rounded(std::clamp(value, 0.0f, static_cast<float>(most)));
}

bool is_finite(const Rectangle& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) &&
         std::isfinite(box.y2);
}

// With dots for the end that is wider than `most` pixels.
Cover written_within(std::string text, double letter_height, int most) {
  while (width_written(text, letter_height) > most && text.size() > 3) {
    text.replace(text.size() - 3, std::string::npos, "..");
  }
  return written(text, letter_height);
}

}  // namespace

Drawing::Area Drawing::place(const Rectangle& box, int width, int height) const {
  const auto picture_width = static_cast<int>(picture_.width);
  const auto picture_height = static_cast<int>(picture_.height);
  const int left = whole_pixel(box.x1, picture_width) - line_width_ / 2;
  const int top = whole_pixel(box.y1, picture_height);
  const int bottom = whole_pixel(box.y2, picture_height);
  const int x = std::clamp(left, 0, std::max(0, picture_width - width));
  const auto fits = [&](const Area& area) {
    return area.x >= 0 && area.y >= 0 && area.x + area.width <= std::max(picture_width, width) &&
           area.y + area.height <= picture_height;
  };
  const auto is_free = [&](const Area& area) {
    return std::none_of(labels_.begin(), labels_.end(), [&](const Area& other) {
      return area.x < other.x + other.width && other.x < area.x + area.width &&
             area.y < other.y + other.height && other.y < area.y + area.height;
    });
  };
  const int right = whole_pixel(box.x2, picture_width) + line_width_ / 2;
  const std::array<Area, 6> areas{{{x, top - height, width, height},
                                   {x, top, width, height},
                                   {x, bottom - height, width, height},
                                   {x, bottom, width, height},
                                   {left - width, top, width, height},
                                   {right, top, width, height}}};
  const Area* first = nullptr;
  for (const Area& area : areas) {
    if (!fits(area)) continue;
    if (is_free(area)) return area;
    if (first == nullptr) first = &area;
  }
  return first != nullptr ? *first : Area{x, std::max(0, picture_height - height), width, height};
}

void Drawing::label_on(const Rectangle& box, const Cover& letters, Colour colour) {
  const int margin = rounded(letter_height_ * 0.35);
  const int width = letters.width + 2 * margin;
  const int height = rounded(letter_height_ * 2.05);
  const Area area = place(box, width, height);
  labels_.push_back(area);
  blend(picture_, area.x, area.y, rounded_ground(width, height, rounded(letter_height_ / 4)),
        colour);
  blend(picture_, area.x + margin, area.y + (height - letters.height) / 2, letters,
        text_on(colour));
}

void Drawing::label(const Rectangle& box, std::string_view text, Colour colour) {
  if (!is_finite(box)) return;
  label_on(box, written(writable_text(text), letter_height_), colour);
}

void Drawing::turned_label(const Corners& corners, std::string_view text, Colour colour) {
  if (!std::all_of(corners.begin(), corners.end(), [](const Point& point) {
        return std::isfinite(point.x) && std::isfinite(point.y);
      })) {
    return;
  }
  const auto [left, right] = std::minmax_element(
      corners.begin(), corners.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  const auto [highest, bottom] = std::minmax_element(
      corners.begin(), corners.end(), [](const Point& a, const Point& b) { return a.y < b.y; });
  // Of two that are nearly as high the left one.
  const auto top = std::min_element(
      corners.begin(), corners.end(),
      [](const Point& a, const Point& b) { return a.y + a.x / 32 < b.y + b.x / 32; });
  Rectangle box{left->x, highest->y, right->x, bottom->y};
  Cover letters = written(writable_text(text), letter_height_);
  // Begins at the corner, or ends there if it is one on the right.
  const bool is_right = top->x - left->x > right->x - top->x;
  box.x1 = is_right ? std::max(left->x, top->x - static_cast<float>(letters.width)) : top->x;
  label_on(box, letters, colour);
}

void Drawing::panel(std::span<const Bar> bars) {
  if (bars.empty()) return;
  const double letter = letter_height_ * 1.15;
  const int margin = rounded(letter * 0.7);  // of the panel, and within it
  const int gap = rounded(letter * 1.2);     // between a text and its number
  const int bar_height = std::max(3, rounded(letter * 0.35));
  const int most = std::max(1, static_cast<int>(picture_.width) - 4 * margin);
  std::vector<std::pair<Cover, Cover>> rows;
  int width = rounded(letter * 10);
  for (const Bar& bar : bars) {
    Cover number = written(fmt::format("{:.2f}", bar.share), letter);
    Cover text = written_within(writable_text(bar.text), letter, most - number.width - gap);
    width = std::max(width, text.width + gap + number.width);
    rows.emplace_back(std::move(text), std::move(number));
  }
  width = std::min(width, most);
  const int row_height = rows.front().first.height + bar_height + rounded(letter * 0.8);
  const int height = row_height * static_cast<int>(rows.size()) + margin;
  blend(picture_, margin, margin,
        rounded_ground(width + 2 * margin, height + margin / 2, rounded(letter / 2), 170), {});
  const int left = 2 * margin;
  int y = margin + margin;
  for (std::size_t i = 0; i < rows.size(); ++i, y += row_height) {
    const auto& [text, number] = rows[i];
    constexpr Colour kWhite{255, 255, 255};
    blend(picture_, left, y, text, kWhite);
    blend(picture_, left + width - number.width, y, number, kWhite);
    const int bar_y = y + text.height;
    blend(picture_, left, bar_y, rounded_ground(width, bar_height, bar_height / 2, 60), kWhite);
    const float share = std::isnan(bars[i].share) ? 0 : std::clamp(bars[i].share, 0.0f, 1.0f);
    const int filled = rounded(double{share} * width);
    if (filled > 0) {
      blend(picture_, left, bar_y, rounded_ground(filled, bar_height, bar_height / 2),
            bars[i].colour);
    }
  }
}

}  // namespace fovea::imaging
