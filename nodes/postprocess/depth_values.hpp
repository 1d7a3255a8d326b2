// Distances of a picture from those that a network gives, see msgs::DepthMap.
//
// Thread safety: pure.
#pragma once

#include "msgs/depth_map.hpp"
#include "msgs/tensor.hpp"
#include "nodes/postprocess/dense_map.hpp"

namespace fovea {

// All but the header. As many values as the map has cells: the cells themselves where the network saw
// the picture as a whole and nothing else, and else what lies between them there. NaN for what is no
// distance above 0, and where the network saw nothing. REQUIRES: `transform` is valid() and of the
// map's network; one channel, at most DepthMap::kMaxValues cells.
void write_depth(const DenseMap& map, const msgs::LetterboxTransform& transform,
                 msgs::DepthMap& out);

}  // namespace fovea
