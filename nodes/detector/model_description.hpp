// What a decoder must know about an engine's outputs, as the message that describes it.
#pragma once

#include <cstdint>

#include "msgs/model_info.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea {

// Equal for engines whose outputs mean the same: of one model, however it was built.
std::uint64_t model_id(const engine::EngineInfo& info);

// Same input, same outputs in the same order, same head: one can take the other's place.
bool same_bindings(const engine::EngineInfo& a, const engine::EngineInfo& b);

// Errors: kUnsupported if the outputs are no detect head, or are more than a message can describe.
Result<msgs::ModelInfo> describe_model(const engine::EngineInfo& info, std::uint64_t model_id);

}  // namespace fovea
