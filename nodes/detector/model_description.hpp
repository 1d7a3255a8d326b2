// What a decoder must know about an engine's outputs, as the message that describes it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea {

// Equal for engines whose outputs mean the same: of one model, however it was built.
std::uint64_t model_id(const engine::EngineInfo& info);

// Same input, same outputs in the same order, same head: one can take the other's place.
bool same_bindings(const engine::EngineInfo& a, const engine::EngineInfo& b);

// Errors: kUnsupported if the outputs are no detect head, or are more than a message can describe.
Result<msgs::ModelInfo> describe_model(const engine::EngineInfo& info, std::uint64_t model_id);

// Where the outputs of one frame lie in one piece of memory, each at a multiple of 64 bytes.
struct HeadsDescription {
  msgs::TensorArray message;  // the parts that are the same for every frame
  std::size_t bytes = 0;      // of all outputs
};
// REQUIRES: describe_model() describes the same.
HeadsDescription describe_heads(const engine::EngineInfo& info, std::uint64_t model_id);

}  // namespace fovea
