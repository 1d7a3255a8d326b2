// Provider "reference": the reference operators behind the engine's interface. Slow, and right.
// 8 bits are simulated in f32, each rounding where an int8 kernel has it: the oracle for those.
#pragma once

#include <string>

#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

// One item of a batch after the other, on the calling thread. See Provider::load.
Result<std::shared_ptr<const Engine>> load_reference_engine(NetworkDefinition lowered,
                                                            EngineInfo info,
                                                            const LayerTactics& tactics = {},
                                                            const SharedBytes& artifact = {});

std::string reference_identity();  // "fovea"

inline constexpr Provider kReferenceProvider = {.name = "reference",
                                                .identity = reference_identity,
                                                .load = load_reference_engine,
                                                .mixes_precisions = true};

}  // namespace fovea::engine
