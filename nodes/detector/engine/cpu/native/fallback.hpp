// The reference operator as a step: slow, but runs everything.
#pragma once

#include <memory>
#include <vector>

#include "nodes/detector/engine/cpu/native/storage.hpp"
#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cpu::native {

// Sources are the layer's inputs and residual that are not `known`, destinations its outputs.
// Errors: what the reference refuses.
Result<std::unique_ptr<const OperationFactory>> make_fallback(const NetworkDefinition& network,
                                                             const Layer& layer,
                                                             const KnownValues& known,
                                                             Storage& storage);

// Copies a value to where an engine's caller wants it: pictures as [C, H, W], others as they are.
std::unique_ptr<const kernels::Kernel> make_planar_copy(const Value& value, bool picture,
                                                        const kernels::Surface& from);

}  // namespace fovea::engine::cpu::native
