// The provider "cuda": NVIDIA GPUs of compute capability 8.0 and later, on Fovea's own kernels. Needs
// the driver's library at run time only, and the CUDA compiler at build time; a build without it has
// the row, too, and says so.
#pragma once

#include <memory>
#include <string>

#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

// Errors: kUnsupported in a build without CUDA; kUnavailable without driver, GPU or kernels for it.
Result<> cuda_available();
// "NVIDIA H200 sm_90 132 SM driver 13.0", or why there is none.
std::string cuda_identity();
// fp32, or f16 with f32 sums. An int8 or bf16 plan runs in f16, and the engine's info says so. Errors:
// kUnsupported, naming every layer that no kernel takes; cuda_available()'s.
Result<std::shared_ptr<const Engine>> load_cuda_engine(NetworkDefinition lowered, EngineInfo info,
                                                       const LayerTactics& tactics = {},
                                                       const SharedBytes& artifact = {});

// Provider::tune.
Result<LayerTactics> tune_cuda_engine(const NetworkDefinition& lowered, const EngineInfo& info,
                                      const TuningConfig& config, const Progress& progress,
                                      TuningReport& report);

inline constexpr Provider kCudaProvider = {.name = "cuda",
                                           .available = cuda_available,
                                           .identity = cuda_identity,
                                           .load = load_cuda_engine,
                                           .mixes_precisions = true,
                                           .tune = tune_cuda_engine,
                                           .default_batch = 8};

}  // namespace fovea::engine
