// Numbers for proofs that run a part of a network. Internal to the recognisers of heads.
#pragma once

#include <cstdint>
#include <utility>

#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

// Uniform in -range..range; the same on every run, so that a model is always recognised or never.
class Noise {
 public:
  float next(float range) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (static_cast<float>(state_ >> 40) / static_cast<float>(1 << 23) - 1.0F) * range;
  }

 private:
  std::uint64_t state_ = 1;
};

// One f32 tensor per input, of its dims, with values of -range..range.
inline reference::TensorMap made_up_inputs(const NetworkDefinition& network, float range = 5) {
  reference::TensorMap inputs;
  Noise noise;
  for (const ValueId id : network.inputs) {
    const Value& value = network.value(id);
    auto tensor = reference::Tensor::make(DataType::kFloat32, value.dims);
    for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.data<float>()[i] = noise.next(range);
    inputs.emplace(value.name, std::move(tensor));
  }
  return inputs;
}

}  // namespace fovea::engine
