// What a decoder must know about an engine's outputs, as the message that describes it.
#pragma once

#include <cstdint>

#include "msgs/model_info.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea {

// Errors: kUnsupported if the outputs are no detect head, or are more than a message can describe.
Result<msgs::ModelInfo> describe_model(const engine::EngineInfo& info, std::uint64_t model_id);

}  // namespace fovea
