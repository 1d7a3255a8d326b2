#include "nodes/preprocess/placement.hpp"

#include <algorithm>
#include <cmath>

namespace fovea {
namespace {

// std::nearbyint rounds halves to even, as Python's round() does.
std::uint32_t rounded(double value) { return static_cast<std::uint32_t>(std::nearbyint(value)); }

void letterbox(msgs::LetterboxTransform& t, bool centred) {
  const double scale = std::min(static_cast<double>(t.network_height) / t.source_height,
                                static_cast<double>(t.network_width) / t.source_width);
  const auto scaled = [scale, centred](std::uint32_t side, std::uint32_t limit) {
    const std::uint32_t whole =
        centred ? rounded(side * scale) : static_cast<std::uint32_t>(side * scale);
    return std::clamp(whole, std::uint32_t{1}, limit);
  };
  const auto padding = [](std::uint32_t total) { return rounded(total / 2.0 - 0.1); };
  t.new_width = scaled(t.source_width, t.network_width);
  t.new_height = scaled(t.source_height, t.network_height);
  if (!centred) return;
  t.pad_left = padding(t.network_width - t.new_width);
  t.pad_top = padding(t.network_height - t.new_height);
}

void stretch(msgs::LetterboxTransform& t) {
  t.new_width = t.network_width;
  t.new_height = t.network_height;
}

void centre_crop(msgs::LetterboxTransform& t) {
  if (t.network_width != t.network_height) return stretch(t);
  const std::uint32_t size = t.network_width;
  // The longer side is cut down to whole pixels, not rounded.
  const std::uint64_t shorter = std::min(t.source_width, t.source_height);
  t.new_width = static_cast<std::uint32_t>(size * std::uint64_t{t.source_width} / shorter);
  t.new_height = static_cast<std::uint32_t>(size * std::uint64_t{t.source_height} / shorter);
  t.crop_left = rounded((t.new_width - size) / 2.0);
  t.crop_top = rounded((t.new_height - size) / 2.0);
}

}  // namespace

msgs::LetterboxTransform place(ResizeMode resize, std::uint32_t source_width,
                               std::uint32_t source_height, std::uint32_t network_width,
                               std::uint32_t network_height) {
  msgs::LetterboxTransform transform{.source_width = source_width,
                                     .source_height = source_height,
                                     .network_width = network_width,
                                     .network_height = network_height};
  switch (resize) {
    case ResizeMode::kLetterbox:
      letterbox(transform, true);
      break;
    case ResizeMode::kLetterboxTopLeft:
      letterbox(transform, false);
      break;
    case ResizeMode::kStretch:
    case ResizeMode::kStretchAntialiased:
      stretch(transform);
      break;
    case ResizeMode::kCentreCrop:
      centre_crop(transform);
      break;
  }
  return transform;
}

}  // namespace fovea
