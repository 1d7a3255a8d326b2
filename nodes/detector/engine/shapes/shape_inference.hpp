// Shapes of one layer at a time, and the tensors that shape arithmetic makes known. infer_shapes()
// in network.hpp is the whole-network entry; passes and the reference provider use these parts.
#pragma once

#include <span>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

struct TensorInfo {
  DataType dtype = DataType::kFloat32;
  Dims dims;
  const Constant* known = nullptr;  // its contents, if they do not depend on the pixels
};

// The outputs of `layer`. `inputs` go with layer.inputs, null where an optional one is absent.
// Errors: too few inputs, extents or types that the operator does not take, shapes that are not
// `known`.
Result<std::vector<TensorInfo>> infer_layer(const Layer& layer,
                                            std::span<const TensorInfo* const> inputs);

// Contents by ValueId, null where they depend on the pixels.
using KnownValues = std::vector<std::shared_ptr<const Constant>>;

// infer_shapes(), returning what it learnt on the way.
Result<KnownValues> infer_known_values(NetworkDefinition& network, std::int64_t batch);

}  // namespace fovea::engine
