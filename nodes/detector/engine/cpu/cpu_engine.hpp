// Provider "cpu": our own kernels (cpu/native) where the CPU has AVX2 or NEON and they cover the
// network, else f32 through oneDNN and a few loops of our own, which is also provider "onednn".
// A build without oneDNN runs everything on our own kernels.
// Either runs one item of a batch after the other: batching brings CPUs nothing, and with one item
// every binding is the caller's memory and Concat is free.
//
// oneDNN's threads come from OpenMP; each executing thread owns its team. Its idle members spin for
// some milliseconds before they sleep unless the environment bounds that before the process starts:
// whoever launches a detector should set GOMP_SPINCOUNT (kSpinCount), for nothing inside the
// process can.
#pragma once

#include <memory>
#include <string>

#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

inline constexpr const char* kSpinCount = "1000";  // some 40 us

// Provider::load. Packs the weights (a copy; the network is not kept). What an engine over
// oneDNN declined says why our own kernels were not taken. FOVEA_ISA=sse4 and below leaves only
// oneDNN. Errors: kUnsupported, naming the layer that nothing can run;
// those of kernels::check_isa().
Result<std::shared_ptr<const Engine>> load_cpu_engine(NetworkDefinition lowered, EngineInfo info,
                                                      const LayerTactics& tactics = {},
                                                      const SharedBytes& artifact = {});
// oneDNN in f32, whatever the network's quantisation says. It chooses its kernels itself.
Result<std::shared_ptr<const Engine>> load_onednn_engine(NetworkDefinition lowered, EngineInfo info,
                                                         const LayerTactics& tactics = {},
                                                         const SharedBytes& artifact = {});
// Provider::tune: of our own kernels.
Result<LayerTactics> tune_cpu_engine(const NetworkDefinition& lowered, const EngineInfo& info,
                                     const TuningConfig& config, const Progress& progress,
                                     TuningReport& report);

// Errors: kUnsupported in a build without oneDNN.
Result<> onednn_available();

// "oneDNN 2.6.3 avx512_core, kernels avx512 avx512_vnni".
std::string cpu_identity();

// Without AVX2 an int8 plan runs in f32, without AVX512-FP16 an fp16 one does, and their
// engines' infos say so.
inline constexpr Provider kCpuProvider = {.name = "cpu",
                                          .identity = cpu_identity,
                                          .load = load_cpu_engine,
                                          .mixes_precisions = true,
                                          .tune = tune_cpu_engine};
inline constexpr Provider kOnednnProvider = {.name = "onednn",
                                             .available = onednn_available,
                                             .identity = cpu_identity,
                                             .load = load_onednn_engine};

}  // namespace fovea::engine
