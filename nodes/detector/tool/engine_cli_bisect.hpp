// `verify --bisect`: which layer is wrong. Internal to engine_cli*.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "nodes/detector/tool/engine_cli_tensors.hpp"

namespace fovea::engine_cli {

// Judges every layer of the plan's engine on `images`, one after the other, until one differs; with
// `against` another provider's than the reference also those of its engine for the same network.
// Prints, writes JSON and, into `tensors.outputs`, both sides of what is found. The exit code:
// kExitFailure where a layer differs. Errors: check_layers()'s; kInvalidArgument for an `against`
// that is no provider.
Result<int> bisect(const engine::Plan& plan, const engine::Dims& size, const std::string& against,
                   const std::vector<std::vector<std::byte>>& images, const TensorOptions& tensors,
                   const JsonOption& json);

}  // namespace fovea::engine_cli
