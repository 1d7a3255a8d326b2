// The reference operator as a step: slow, but runs everything.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::cpu {

// One operand: a value that is known while compiling, or memory that lies row-major or as a picture.
struct ReferenceLink {
  std::shared_ptr<const Constant> known;  // or:
  DataType dtype = DataType::kFloat32;
  Dims dims;
  std::optional<kernels::Surface> picture;  // [1, C, H, W], stored so
};

// Sources are the inputs that are not known, in order; destinations the outputs. `inputs` follows
// layer.inputs (nullopt: absent), then the residual if the layer has one.
// Errors: what the reference refuses, naming the layer.
Result<std::unique_ptr<const OperationFactory>> make_reference_operation(
    const Layer& layer, std::vector<std::optional<ReferenceLink>> inputs,
    std::vector<ReferenceLink> outputs);

// Reads a picture into row-major f32 [C, H, W].
void copy_to_planar(const Dims& dims, const kernels::Surface& surface, const void* from, float* to);

}  // namespace fovea::engine::cpu
