// Whether what follows the maps of a head is their decoding, by running it on made-up ones.
// Internal to the recognisers of heads.
//
// Thread safety: pure functions.
#pragma once

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/passes/head_maps.hpp"

namespace fovea::engine {

// Does the tail between the maps and `output` decode them? Costs one run of the tail or, for the best
// boxes, several. Errors: those of cutting it out.
Result<bool> tail_decodes(const NetworkDefinition& network, const NetworkDefinition& shaped,
                          const HeadMaps& maps, ValueId output);

}  // namespace fovea::engine
