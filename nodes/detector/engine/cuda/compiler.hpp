// Turns a lowered network into launches.
//
// Thread safety: pure function.
#pragma once

#include "nodes/detector/engine/cuda/program.hpp"
#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine::cuda {

struct CompileOptions {
  LayerTactics tactics = {};  // names of convolution variants
  std::int64_t images = 1;    // of the batch that first guesses are made for
  GpuLimits limits = {};
};

// REQUIRES: a network from lower(), weights that are not packed. Errors: kUnsupported, naming every
// layer that no kernel takes.
Result<Program> compile(NetworkDefinition network, const CompileOptions& options);

}  // namespace fovea::engine::cuda
