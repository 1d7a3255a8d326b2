// Where the raw maps of a YOLO network may be: what its structure proposes, before anything is proven.
// Internal to the recognisers of heads.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// Of a row of best boxes: left, top, right, bottom, score, class.
inline constexpr std::int64_t kBestFields = 6;

struct MapLevel {
  ValueId box = kNoValue;
  ValueId scores = kNoValue;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int32_t stride = 0;
};

// A head as it may be.
struct HeadMaps {
  std::vector<MapLevel> levels;  // by stride
  std::int64_t classes = 0;
  std::int64_t reg_max = 0;
  std::int64_t anchors = 0;
  // The tail keeps the best boxes, [n, 6], instead of giving all, [4 + classes, anchors].
  bool best = false;
  bool corners = false;  // all boxes are left, top, right, bottom instead of centre and size
};

// Cells by which a distance may be off: what a model that brings its own 8 bits has in its tail is
// rounded, too. 0 for other models.
float projection_tolerance(const NetworkDefinition& network);

// Outputs of the convolutions that `output` depends on with no other convolution between; empty if
// it also depends on a network input directly.
std::vector<ValueId> last_convolutions(const NetworkDefinition& network, ValueId output);

// Pairs the maps by size. Which one of a pair is the box map may be open (`swapped`): the proof
// decides. `output`: the extents of what is made of the maps.
std::optional<HeadMaps> pair_maps(const NetworkDefinition& shaped, std::vector<ValueId> maps,
                                  const Dims& output, bool swapped);

}  // namespace fovea::engine
