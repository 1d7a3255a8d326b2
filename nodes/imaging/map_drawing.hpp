// Maps of a whole picture, blended over it for people to look at.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "nodes/imaging/image_target.hpp"

namespace fovea::imaging {

// Over the whole picture, of any size: [height, width], dense.
template <class T>
struct MapView {
  std::span<const T> values;
  std::uint32_t width = 0;
  std::uint32_t height = 0;

  bool fits() const {
    return width > 0 && height > 0 && values.size() == std::size_t{width} * height;
  }
};

inline constexpr std::uint8_t kUnlabelled = 255;

// Tints each pixel in its label's colour_of(), where two labels meet more strongly; leaves those of
// kUnlabelled as they are. False, and nothing is drawn, for a map that does not fit.
bool blend_labels(const ImageTarget& picture, const MapView<std::uint8_t>& labels);

// Colours each pixel by its distance on a logarithmic scale from the map's least to its greatest, near
// ones warm and far ones cold, over a hint of the picture. Leaves pixels without a finite distance above
// 0 as they are. The map's outermost values lie on the picture's edges. False as above.
bool blend_depth(const ImageTarget& picture, const MapView<float>& depth);

}  // namespace fovea::imaging
