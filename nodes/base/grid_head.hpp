// The heads of detectors outside the Ultralytics family, by their roles (head_spec.hpp).
//
// Pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "nodes/base/head_spec.hpp"

namespace fovea {

// The raw maps of YOLOX, per level i f32 [h, w, channels]: `box<i>` of 4 (kGridLog), `obj<i>` of 1
// (objectness, a logit) and `cls<i>` of `classes` (logits).
HeadSpec grid_head(std::uint32_t classes, std::span<const std::uint32_t> strides);

// `boxes` f32 [anchors, 4], corners in network pixels, and `scores` of 0..1, f32 [anchors, classes]
// or, with the anchors innermost, [classes, anchors]: YOLO-NAS, DAMO-YOLO, PP-YOLOE.
HeadSpec pair_head(std::uint32_t classes, AnchorAxis score_anchors = AnchorAxis::kOutermost);

}  // namespace fovea
