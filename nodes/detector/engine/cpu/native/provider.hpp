// Engines over our own kernels.
#pragma once

#include "nodes/detector/engine/cpu/native/compiler.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine::cpu::native {

// Errors: those of compile(); kUnsupported without AVX2 where there is oneDNN.
Result<std::shared_ptr<const Engine>> load(const NetworkDefinition& lowered, EngineInfo info,
                                              const CompileOptions& options = {});

}  // namespace fovea::engine::cpu::native
