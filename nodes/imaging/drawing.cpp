#include "nodes/imaging/drawing.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace fovea::imaging {

namespace {

constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kFontCapital = 21;  // height of a capital at scale 1, in pixels
constexpr double kFontStroke = 2.6;  // width of a stroke beside that
// Text is drawn so many times larger and scaled down: strokes of any width, and smooth ones.
constexpr int kFiner = 4;
constexpr int kFraction = 4;  // bits of a pixel's fraction in OpenCV's coordinates

cv::Mat view(const ImageTarget& picture) {
  return cv::Mat(static_cast<int>(picture.height), static_cast<int>(picture.width), CV_8UC3,
                 picture.data, picture.step);
}

cv::Scalar bgr(Colour colour) {
  return {double(colour.blue), double(colour.green), double(colour.red)};
}

Colour darker(Colour colour) {
  const auto part = [](std::uint8_t value) { return static_cast<std::uint8_t>(value * 2 / 5); };
  return {part(colour.red), part(colour.green), part(colour.blue)};
}

// Black or white, whichever is read more easily on it.
Colour text_on(Colour ground) {
  const double luma = 0.299 * ground.red + 0.587 * ground.green + 0.114 * ground.blue;
  return luma > 110 ? Colour{16, 16, 16} : Colour{255, 255, 255};
}

// OpenCV's pixel centres lie at whole numbers, ours at halves.
int fixed_point(float value, std::uint32_t side) {
  const auto most = 2 * static_cast<float>(side);
  return static_cast<int>(
      std::lround((std::clamp(value, -most, most) - 0.5f) * static_cast<float>(1 << kFraction)));
}

void blend(cv::Mat region, const cv::Mat& cover, Colour colour) {
  const std::array<int, 3> target{colour.blue, colour.green, colour.red};
  for (int y = 0; y < region.rows; ++y) {
    auto* pixel = region.ptr<cv::Vec3b>(y);
    const auto* share = cover.ptr<std::uint8_t>(y);
    for (int x = 0; x < region.cols; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int under = pixel[x][c];
        pixel[x][c] = static_cast<std::uint8_t>(
            under + ((target[static_cast<std::size_t>(c)] - under) * share[x] + 127) / 255);
      }
    }
  }
}

}  // namespace

Colour colour_of(std::uint32_t number) {
  static constexpr std::array<Colour, 16> kColours{{{255, 92, 71},
                                                    {51, 181, 255},
                                                    {255, 193, 38},
                                                    {93, 214, 92},
                                                    {222, 110, 255},
                                                    {255, 138, 188},
                                                    {0, 214, 190},
                                                    {255, 140, 26},
                                                    {125, 140, 255},
                                                    {196, 222, 60},
                                                    {255, 84, 150},
                                                    {92, 200, 230},
                                                    {235, 180, 130},
                                                    {150, 230, 160},
                                                    {186, 150, 255},
                                                    {240, 220, 130}}};
  const Colour colour = kColours[number % kColours.size()];
  const auto each = [&](auto change) {
    return Colour{change(colour.red), change(colour.green), change(colour.blue)};
  };
  // Then the same ones paler, and deeper.
  switch (number / kColours.size() % 3) {
    case 1:
      return each([](int part) { return static_cast<std::uint8_t>(part + (255 - part) * 9 / 20); });
    case 2:
      return each([](int part) { return static_cast<std::uint8_t>(part * 13 / 20); });
    default:
      return colour;
  }
}

std::string writable_text(std::string_view utf8) {
  std::string text;
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else if ((byte & 0xc0) != 0x80) {  // once a character
      text += '?';
    }
  }
  return text;
}

Drawing::Drawing(const ImageTarget& picture) : picture_(picture) {
  const double side =
      (static_cast<double>(picture.width) + static_cast<double>(picture.height)) / 2;
  line_width_ = std::max(1, static_cast<int>(std::lround(side * 0.0026)));
  letter_height_ = std::max(8.0, side * 0.0135);
}

void Drawing::box(const Rectangle& box, Colour colour) {
  cv::Mat image = view(picture_);
  const cv::Point first(fixed_point(box.x1, picture_.width), fixed_point(box.y1, picture_.height));
  const cv::Point last(fixed_point(box.x2, picture_.width), fixed_point(box.y2, picture_.height));
  // A dark rim keeps it visible on a ground of its own colour.
  const int rim = line_width_ + std::max(2, line_width_ / 2);
  cv::rectangle(image, first, last, bgr(darker(colour)), rim, cv::LINE_AA, kFraction);
  cv::rectangle(image, first, last, bgr(colour), line_width_, cv::LINE_AA, kFraction);
}

Drawing::Area Drawing::place(const Rectangle& box, int width, int height) const {
  const auto picture_width = static_cast<int>(picture_.width);
  const auto picture_height = static_cast<int>(picture_.height);
  const auto whole = [](float value, int most) {
    return static_cast<int>(std::lround(std::clamp(value, 0.0f, static_cast<float>(most))));
  };
  const int left = whole(box.x1, picture_width) - line_width_ / 2;
  const int top = whole(box.y1, picture_height);
  const int bottom = whole(box.y2, picture_height);
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
  const int right = whole(box.x2, picture_width) + line_width_ / 2;
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

void Drawing::label(const Rectangle& box, std::string_view text, Colour colour) {
  const std::string written = writable_text(text);
  const double scale = kFiner * letter_height_ / kFontCapital;
  const int stroke = std::max(1, static_cast<int>(std::lround(kFontStroke * scale)));
  int below = 0;
  const cv::Size large = cv::getTextSize(written, kFont, scale, stroke, &below);
  const int margin = static_cast<int>(std::lround(letter_height_ * 0.45));
  const int descent = static_cast<int>(std::lround(letter_height_ * 0.3));
  const int width = large.width / kFiner + 2 * margin;
  const int height = static_cast<int>(std::lround(letter_height_)) + 2 * margin + descent / 2;
  const Area area = place(box, width, height);
  labels_.push_back(area);

  cv::Mat image = view(picture_);
  // Rounded corners: a filled core within a line whose ends are round.
  const int radius = std::max(1, static_cast<int>(letter_height_ / 4));
  const cv::Rect ground(area.x, area.y, area.width, area.height);
  const cv::Rect core(ground.x + radius, ground.y + radius, ground.width - 2 * radius,
                      ground.height - 2 * radius);
  cv::rectangle(image, core, bgr(colour), cv::FILLED);
  cv::rectangle(image, core, bgr(colour), 2 * radius - 1, cv::LINE_AA);

  cv::Mat letters(height * kFiner, width * kFiner, CV_8UC1, cv::Scalar(0));
  const int base = margin * kFiner + static_cast<int>(std::lround(letter_height_ * kFiner));
  cv::putText(letters, written, {margin * kFiner, base}, kFont, scale, cv::Scalar(255), stroke,
              cv::LINE_AA);
  cv::Mat cover;
  cv::resize(letters, cover, {width, height}, 0, 0, cv::INTER_AREA);
  const cv::Rect visible = ground & cv::Rect(0, 0, image.cols, image.rows);
  if (visible.empty()) return;
  blend(image(visible),
        cover(cv::Rect(visible.x - ground.x, visible.y - ground.y, visible.width, visible.height)),
        text_on(colour));
}

}  // namespace fovea::imaging
