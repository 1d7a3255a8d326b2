// What decoding the raw maps of a head gives: the yardstick of its proof, plain and slow. Decoders
// have their own. Internal to the recognisers of heads.
//
// Thread safety: pure functions.
#pragma once

#include "nodes/detector/engine/passes/head_maps.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

// f32 [4 + classes + more, anchors] of image 0. `maps`: `box<level>`, `cls<level>` and, of a head of
// three maps, `more<level>`, f32 [n, channels, h, w].
reference::Tensor decoded(const HeadMaps& head, const Reading& reading,
                          const reference::TensorMap& maps);

}  // namespace fovea::engine
