// Which points of a pose belong together.
//
// Thread safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "nodes/imaging/colour.hpp"

namespace fovea::predict {

// Part of a body, for its colour.
enum class BodyPart { kHead, kTrunk, kLeftArm, kRightArm, kLeftLeg, kRightLeg };

constexpr imaging::Colour colour_of(BodyPart part) {
  constexpr std::array<imaging::Colour, 6> kColours{{{255, 221, 85},
                                                     {214, 226, 240},
                                                     {80, 220, 120},
                                                     {70, 180, 255},
                                                     {255, 150, 60},
                                                     {235, 105, 240}}};
  return kColours[static_cast<std::size_t>(part)];
}

// A line between two points, by their places in the list of points.
struct Limb {
  std::size_t from = 0;
  std::size_t to = 0;
  BodyPart part = BodyPart::kTrunk;
};

struct Skeleton {
  std::span<const Limb> limbs;
  std::span<const BodyPart> parts;  // of each point
};

// COCO's person has 17 points: nose; eyes, ears, shoulders, elbows, wrists, hips, knees and ankles,
// the left one of each pair first. Of other numbers nothing is known, and all is empty.
Skeleton skeleton_of(std::size_t points);

}  // namespace fovea::predict
