// How much two boxes have in common: what both trackers associate by.
//
// Thread safety: a pure function.
#pragma once

#include "msgs/detection.hpp"

namespace fovea {

// Intersection over union, 0..1; 0 for boxes that are empty or not finite.
float overlap(const msgs::BoundingBox2D& a, const msgs::BoundingBox2D& b);

}  // namespace fovea
