// The oracle: runs any network that validates, lowered or not, with readable NCHW loops. Passes
// fold constants with it, tests compare every other implementation with it.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::reference {

using Tensor = Constant;
using TensorMap = std::map<std::string, Tensor>;

// Runs `network` on one tensor per network input, by name. A first extent of -1 takes the tensors'
// batch. Returns the network's outputs by name. Thread safety: pure. Errors: a missing input,
// extents or types that differ from the network's, and infer_shapes()'s.
Result<TensorMap> evaluate(const NetworkDefinition& network, const TensorMap& inputs);

// One layer whose inputs' contents are known (Shape needs extents only). `outputs` are
// infer_layer()'s.
Result<std::vector<Tensor>> evaluate_known(const Layer& layer,
                                           std::span<const TensorInfo* const> inputs,
                                           const std::vector<TensorInfo>& outputs);

}  // namespace fovea::engine::reference
