// Heads of detectors outside the Ultralytics family, none of which bring metadata: their numbers say
// which they are. Internal to the recognisers of heads.
//
// Thread safety: pure functions.
#pragma once

#include "nodes/detector/engine/passes/head_recognisers.hpp"

namespace fovea::engine {

// One output [1, anchors, 5 + classes] of boxes, objectness and scores behind three maps per level, as
// YOLOX's exporter writes them, decoded or not: see grid_head(). What a model with undecoded rows, or
// with a focus in front, is fed is YOLOX's: BGR, 0..255, a letterbox in the upper left corner.
Result<HeadAnswer> recognise_grid(const HeadQuestion& question);

// The decoding of recognise_dfl() whose tail gives rows, with an objectness that is always 1 (YOLOv6),
// or boxes and scores in an output each (YOLO-NAS, PP-YOLOE).
Result<HeadAnswer> recognise_dfl_rows(const HeadQuestion& question);

// Two outputs: corners of boxes in pixels, which lie around the cells of a grid when all distances are
// equal, and scores of 0..1: see pair_head(). Boxes around the cells' upper left corners are
// DAMO-YOLO's, which is fed 0..255 and a letterbox in the upper left corner.
Result<HeadAnswer> recognise_pair(const HeadQuestion& question);

}  // namespace fovea::engine
