// Measures which kernel of each convolution is fastest on this GPU, for one picture and for the
// greatest batch: each alone first, then in the whole graph.
#pragma once

#include "nodes/detector/engine/cuda/gpu.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine::cuda {

// Provider::tune. A kernel whose result differs from the first guess's is never taken, and reported.
Result<LayerTactics> tune(const Gpu& gpu, const NetworkDefinition& lowered, const EngineInfo& info,
                          const TuningConfig& config, const Progress& progress,
                          TuningReport& report);

}  // namespace fovea::engine::cuda
