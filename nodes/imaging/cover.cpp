#include "nodes/imaging/cover.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace fovea::imaging {

namespace {

constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kFontCapital = 21;  // height of a capital at scale 1, in pixels
constexpr double kFontStroke = 2.6;  // width of a stroke beside that
// Text is drawn so many times larger and scaled down: strokes of any width, and smooth ones.
constexpr int kFiner = 4;

struct Writing {
  explicit Writing(double letter_height)
      : scale(kFiner * letter_height / kFontCapital),
        stroke(std::max(1, static_cast<int>(std::lround(kFontStroke * scale)))),
        rim(std::max(1, static_cast<int>(std::lround(letter_height * 0.1)))) {}

  double scale;
  int stroke;
  int rim;  // pixels above and beside, since half a stroke stands out
};

}  // namespace

void blend(const ImageTarget& picture, int x, int y, const Cover& cover, Colour colour) {
  const std::array<int, 3> target{colour.blue, colour.green, colour.red};
  const int first_x = std::max(0, -x);
  const int first_y = std::max(0, -y);
  const int end_x = std::min(cover.width, static_cast<int>(picture.width) - x);
  const int end_y = std::min(cover.height, static_cast<int>(picture.height) - y);
  for (int row = first_y; row < end_y; ++row) {
    std::byte* pixels = picture.data + static_cast<std::size_t>(y + row) * picture.step;
    const std::uint8_t* share =
        cover.share.data() + static_cast<std::size_t>(row) * static_cast<std::size_t>(cover.width);
    for (int column = first_x; column < end_x; ++column) {
      if (share[column] == 0) continue;
      std::byte* pixel = pixels + 3 * static_cast<std::size_t>(x + column);
      for (std::size_t c = 0; c < 3; ++c) {
        const int under = std::to_integer<int>(pixel[c]);
        pixel[c] = static_cast<std::byte>(under + ((target[c] - under) * share[column]) / 255);
      }
    }
  }
}

Cover rounded_ground(int width, int height, int radius, std::uint8_t share) {
  Cover cover{width, height, {}};
  cover.share.assign(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), share);
  const int r = std::min({radius, width / 2, height / 2});
  for (int y = 0; y < r; ++y) {
    for (int x = 0; x < r; ++x) {
      const double outside = std::hypot(r - x - 0.5, r - y - 0.5) - r;
      const auto part =
          static_cast<std::uint8_t>(std::lround(std::clamp(0.5 - outside, 0.0, 1.0) * share));
      for (const int row : {y, height - 1 - y}) {
        for (const int column : {x, width - 1 - x}) {
          cover.share[static_cast<std::size_t>(row) * static_cast<std::size_t>(width) +
                      static_cast<std::size_t>(column)] = part;
        }
      }
    }
  }
  return cover;
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

int width_written(std::string_view text, double letter_height) {
  const Writing writing(letter_height);
  int below = 0;
  const cv::Size large =
      cv::getTextSize(std::string(text), kFont, writing.scale, writing.stroke, &below);
  return large.width / kFiner + 2 * writing.rim;
}

Cover written(std::string_view text, double letter_height) {
  const Writing writing(letter_height);
  const int capital = static_cast<int>(std::lround(letter_height));
  const int hanging = static_cast<int>(std::lround(letter_height * 0.3));
  const int width = width_written(text, letter_height);
  const int height = capital + 2 * writing.rim + hanging;
  cv::Mat letters(height * kFiner, width * kFiner, CV_8UC1, cv::Scalar(0));
  cv::putText(letters, std::string(text), {writing.rim * kFiner, (writing.rim + capital) * kFiner},
              kFont, writing.scale, cv::Scalar(255), writing.stroke, cv::LINE_AA);
  Cover cover{width, height, {}};
  cover.share.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  cv::Mat small(height, width, CV_8UC1, cover.share.data());
  cv::resize(letters, small, small.size(), 0, 0, cv::INTER_AREA);
  return cover;
}

}  // namespace fovea::imaging
