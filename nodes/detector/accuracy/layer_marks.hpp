// Looking at what lies between the layers of an engine: a copy of its network in which those values
// are outputs, too, without a change to what the engine makes of the layers.
//
// A value that the engine stores as it is (f32, integers) becomes an output itself. One that it may
// store in 8 or 16 bits must not, for outputs never are: it gets a reader instead, a depthwise 1x1
// convolution by one in the set's own precision, whose output is the same numbers in f32.
//
// Thread safety: pure functions.
#pragma once

#include <span>
#include <vector>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/quantization/quantization.hpp"

namespace fovea {

struct MarkedNetwork {
  engine::NetworkDefinition network;
  std::vector<std::size_t> outputs;  // by entry of `values`: which output has its numbers
};

// REQUIRES: inferred shapes; values that are can_be_marked().
MarkedNetwork mark_values(const engine::NetworkDefinition& network,
                          std::span<const engine::ValueId> values);

// Depends on the picture's pixels as far as dims and constants tell, and has a batch of one and
// something in it. REQUIRES: inferred shapes.
bool can_be_marked(const engine::NetworkDefinition& network, engine::ValueId value);

}  // namespace fovea
