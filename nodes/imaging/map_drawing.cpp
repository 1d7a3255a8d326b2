#include "nodes/imaging/map_drawing.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "nodes/imaging/colour.hpp"

namespace fovea::imaging {

namespace {

constexpr unsigned kTint = 128;  // of 256
constexpr unsigned kEdge = 230;  // where labels meet
constexpr unsigned kDistance = 205;

void blend(std::byte* pixel, const Colour& colour, unsigned share) {
  const std::array<std::uint8_t, 3> bgr = {colour.blue, colour.green, colour.red};
  for (std::size_t c = 0; c < bgr.size(); ++c) {
    const unsigned under = std::to_integer<unsigned>(pixel[c]);
    pixel[c] = static_cast<std::byte>((under * (256 - share) + bgr[c] * share + 128) / 256);
  }
}

// The map's column or row under each of so many pixels.
std::vector<std::uint32_t> places(std::uint32_t pixels, std::uint32_t cells) {
  std::vector<std::uint32_t> places(pixels);
  for (std::uint32_t p = 0; p < pixels; ++p) {
    places[p] = static_cast<std::uint32_t>(std::uint64_t{p} * cells / pixels);
  }
  return places;
}

// 0 is near.
Colour colour_of_distance(float share) {
  static constexpr std::array<Colour, 6> kScale = {{{165, 20, 30},
                                                    {240, 110, 30},
                                                    {250, 225, 90},
                                                    {70, 190, 140},
                                                    {40, 100, 190},
                                                    {40, 25, 90}}};
  const float at = std::clamp(share, 0.0F, 1.0F) * static_cast<float>(kScale.size() - 1);
  const auto low = std::min(static_cast<std::size_t>(at), kScale.size() - 2);
  const float rest = at - static_cast<float>(low);
  const auto mixed = [&](std::uint8_t a, std::uint8_t b) {
    return static_cast<std::uint8_t>(
        std::lround(static_cast<float>(a) * (1 - rest) + static_cast<float>(b) * rest));
  };
  const Colour& a = kScale[low];
  const Colour& b = kScale[low + 1];
  return {mixed(a.red, b.red), mixed(a.green, b.green), mixed(a.blue, b.blue)};
}

bool is_distance(float value) { return std::isfinite(value) && value > 0; }

struct Step {
  std::size_t cell = 0;
  std::size_t next = 0;
  float share = 0;
};
std::vector<Step> steps(std::uint32_t pixels, std::uint32_t cells) {
  std::vector<Step> steps(pixels);
  for (std::uint32_t p = 0; p < pixels; ++p) {
    const float at = pixels == 1 ? 0
                                 : static_cast<float>(p) * static_cast<float>(cells - 1) /
                                       static_cast<float>(pixels - 1);
    const auto cell = std::min(static_cast<std::size_t>(at), std::size_t{cells} - 1);
    steps[p] = {cell, std::min(cell + 1, std::size_t{cells} - 1), at - static_cast<float>(cell)};
  }
  return steps;
}

}  // namespace

bool blend_labels(const ImageTarget& picture, const MapView<std::uint8_t>& labels) {
  if (!labels.fits()) return false;
  const auto columns = places(picture.width, labels.width);
  const auto rows = places(picture.height, labels.height);
  std::array<Colour, kUnlabelled> palette;
  for (std::uint32_t label = 0; label < kUnlabelled; ++label) palette[label] = colour_of(label);
  for (std::uint32_t y = 0; y < picture.height; ++y) {
    std::byte* pixel = picture.data + y * picture.step;
    const std::uint8_t* row = labels.values.data() + std::size_t{rows[y]} * labels.width;
    const std::uint8_t* below =
        labels.values.data() +
        std::size_t{rows[std::min(y + 1, picture.height - 1)]} * labels.width;
    for (std::uint32_t x = 0; x < picture.width; ++x, pixel += 3) {
      const std::uint8_t label = row[columns[x]];
      if (label == kUnlabelled) continue;
      const std::uint8_t right = row[columns[std::min(x + 1, picture.width - 1)]];
      const bool meets = right != label || below[columns[x]] != label;
      blend(pixel, palette[label], meets ? kEdge : kTint);
    }
  }
  return true;
}

bool blend_depth(const ImageTarget& picture, const MapView<float>& depth) {
  if (!depth.fits()) return false;
  float near = std::numeric_limits<float>::infinity();
  float far = 0;
  for (const float value : depth.values) {
    if (!is_distance(value)) continue;
    near = std::min(near, value);
    far = std::max(far, value);
  }
  const float range = far > near ? std::log(far / near) : 1;
  const auto columns = steps(picture.width, depth.width);
  const auto rows = steps(picture.height, depth.height);
  for (std::uint32_t y = 0; y < picture.height; ++y) {
    std::byte* pixel = picture.data + y * picture.step;
    const float* upper = depth.values.data() + rows[y].cell * depth.width;
    const float* lower = depth.values.data() + rows[y].next * depth.width;
    for (std::uint32_t x = 0; x < picture.width; ++x, pixel += 3) {
      const auto& [cell, next, share] = columns[x];
      const float above = upper[cell] + share * (upper[next] - upper[cell]);
      const float under = lower[cell] + share * (lower[next] - lower[cell]);
      const float value = above + rows[y].share * (under - above);
      if (is_distance(value)) {
        blend(pixel, colour_of_distance(std::log(value / near) / range), kDistance);
      }
    }
  }
  return true;
}

}  // namespace fovea::imaging
