// Whether what follows a transformer's boxes and logits chooses the best of them, by running it on
// made-up ones. Internal to the recognisers of heads.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// What the tail may begin with.
struct QueryMaps {
  ValueId boxes = kNoValue;   // f32 [1, queries, 4]: centre x, y, width, height, of 0..1
  ValueId logits = kNoValue;  // f32 [1, queries, classes]
  std::int64_t queries = 0;
  std::int64_t classes = 0;
};

// What a model gives for its queries.
struct QueryOutputs {
  enum class Form : std::uint8_t {
    kAll,   // one output [1, queries, 4 + classes]: boxes and scores
    kRows,  // one output [1, rows, 6]: box, score and class of the best pairs of a query and a class
    kParts,  // three of the same: [1, rows, 4], [1, rows] and [1, rows]
  };
  Form form = Form::kRows;
  ValueId boxes = kNoValue;   // kAll and kRows: the one output
  ValueId scores = kNoValue;  // kParts only
  ValueId labels = kNoValue;  // kParts only; i64
  std::int64_t rows = 0;
};

// How a model gives its boxes.
struct QueryBoxes {
  bool corners =
      false;  // made of centre and size, which proves that the maps hold those; else as they are
  bool pixels = false;  // scaled to the picture
};

// How the outputs give the boxes, if they are what the logits' sigmoids and the boxes make; nullopt if
// they are something else. `width`, `height`: the network's. Costs a few runs of the tail. Errors:
// those of cutting it out.
Result<std::optional<QueryBoxes>> given_boxes(const NetworkDefinition& network,
                                              const QueryMaps& maps, const QueryOutputs& outputs,
                                              std::int64_t width, std::int64_t height);

}  // namespace fovea::engine
