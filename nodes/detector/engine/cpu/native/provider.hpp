// Engines over our own kernels.
#pragma once

#include "nodes/detector/engine/cpu/native/compiler.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine::cpu::native {

// Errors: kUnsupported for a CPU, or a FOVEA_ISA, whose vectors no kernel is written for.
Result<> check_vectors(const kernels::CpuFeatures& features);

// Errors: those of compile(), and of check_vectors() where there is oneDNN.
Result<std::shared_ptr<const Engine>> load(const NetworkDefinition& lowered, EngineInfo info,
                                              const CompileOptions& options = {});

}  // namespace fovea::engine::cpu::native
