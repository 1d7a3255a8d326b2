// From a lowered network to a Program: chooses an implementation per layer (oneDNN or a native loop
// on blocked tensors first, the reference operator on planar ones last, every refusal with its
// reason), turns Concat and Split into addresses, inserts the conversions that remain and shares
// memory by lifetime.
#pragma once

#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::cpu::onednn {

// REQUIRES: network.validate(), shapes inferred for one item. `block` is
// select_instruction_set()'s. Errors: kUnsupported, naming the layer that nothing can run and why.
Result<Program> compile(const NetworkDefinition& network, std::int64_t block);

}  // namespace fovea::engine::cpu::onednn
