// Where the raw maps of a YOLO network may be: what its structure proposes, before anything is proven.
// Internal to the recognisers of heads.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nodes/base/head_spec.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// Of a row of best boxes: four of the box, score, class.
inline constexpr std::int64_t kBestFields = 6;

struct MapLevel {
  ValueId box = kNoValue;
  ValueId scores = kNoValue;
  ValueId more = kNoValue;  // a head of two maps has none
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int32_t stride = 0;
};

// What the numbers behind the maps may be. With an angle, boxes are turned.
struct Reading {
  std::optional<LevelMap> more;  // what the third map of a level is
  bool corners = false;          // boxes are left, top, right, bottom instead of centre and size
};

// A head as it may be: which map is which.
struct HeadMaps {
  std::vector<MapLevel> levels;  // by stride
  std::int64_t classes = 0;
  std::int64_t reg_max = 0;
  std::int64_t more_channels = 0;  // of the third map
  std::int64_t anchors = 0;
  // The tail keeps the best boxes, [n, 6 + more], instead of giving all, [4 + classes + more, anchors].
  bool best = false;
};

// Cells by which a distance may be off: what a model that brings its own 8 bits has in its tail is
// rounded, too. 0 for other models.
float projection_tolerance(const NetworkDefinition& network);

// Outputs of the convolutions that `output` depends on with no other convolution between; empty if
// it also depends on a network input directly.
std::vector<ValueId> last_convolutions(const NetworkDefinition& network, ValueId output);

// The heads that `maps` can be, two or three per size, by their channels and by the extents of the
// `output` that is made of them. More than one if several maps can be that of the boxes: the proof
// decides.
std::vector<HeadMaps> possible_heads(const NetworkDefinition& shaped, std::vector<ValueId> maps,
                                     const Dims& output);

// What can be made of such maps. `suppressed`: a suppression, which was cut off, reads it.
std::vector<Reading> possible_readings(const HeadMaps& maps, bool suppressed);

}  // namespace fovea::engine
