// Which pixels of a picture belong to an object, as COCO's uncompressed run lengths: the picture
// column by column, alternately out of the object and in it, out of it first. They may come from
// anywhere: whoever takes some asks covers() first.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nodes/imaging/cover.hpp"

namespace fovea::imaging {

using RunLengths = std::span<const std::uint32_t>;

// Whether they sum up to the pixels of a picture of this size.
bool covers(RunLengths runs, std::uint32_t width, std::uint32_t height);

// Pixels in the object.
std::uint64_t area_of(RunLengths runs);

// The pixels [x1, x2) x [y1, y2).
struct PixelArea {
  std::uint32_t x1 = 0;
  std::uint32_t y1 = 0;
  std::uint32_t x2 = 0;
  std::uint32_t y2 = 0;

  bool operator==(const PixelArea&) const = default;
};

// The smallest that all of the object lies in; nullopt if it has no pixel.
// REQUIRES: covers(runs, some width, height).
std::optional<PixelArea> bounds_of(RunLengths runs, std::uint32_t height);

// The object's pixels of `area`, each with `share`. REQUIRES: as above; `area` is of bounds_of().
Cover cover_of(RunLengths runs, std::uint32_t height, const PixelArea& area, std::uint8_t share);

}  // namespace fovea::imaging
