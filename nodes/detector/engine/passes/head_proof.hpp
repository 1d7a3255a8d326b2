// Whether what follows the maps of a head is their decoding, by running it on made-up ones.
// Internal to the recognisers of heads.
//
// Thread safety: pure functions.
#pragma once

#include <optional>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/passes/head_maps.hpp"

namespace fovea::engine {

// As what the tail between the maps and `output` decodes them, of possible_readings(); nullopt if as
// none. Costs one run of the tail or, for the best boxes, several. Errors: those of cutting it out.
Result<std::optional<Reading>> proven_reading(const NetworkDefinition& network,
                                              const NetworkDefinition& shaped, const HeadMaps& head,
                                              ValueId output);

}  // namespace fovea::engine
