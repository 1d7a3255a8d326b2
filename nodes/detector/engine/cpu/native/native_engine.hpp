// Engine over our own kernels: a compiled program, and contexts with an arena and threads each.
#pragma once

#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/cpu/native/compiler.hpp"

namespace fovea::engine::native {

// Errors: those of compile().
Result<std::shared_ptr<const CpuEngine>> load(const NetworkDefinition& lowered, EngineInfo info,
                                              const CompileOptions& options = {});

}  // namespace fovea::engine::native
