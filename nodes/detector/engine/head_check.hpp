// Whether the numbers that an engine gives can be what its outputs are taken for. A head that is
// only assumed may be something else: rows that want decoding, scores without a sigmoid, boxes that
// are normalised, detections after suppression. Decoded as if they were right they give an empty
// scene, or a full one, and no error.
#pragma once

#include <span>
#include <string>

#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine {

// Runs the engine on a grey picture and on a coloured one. Returns why its output is not what its
// head says, empty if it may be. Only for heads whose boxes and scores lie decoded in one output; others
// give no reason to doubt. Costs two inferences. Errors: the engine's.
Result<std::string> doubt_of_head(const Engine& engine);

// The same of one output: f32, of the shape that info.outputs[0] has.
std::string doubt_of_output(const EngineInfo& info, std::span<const float> output);

}  // namespace fovea::engine
