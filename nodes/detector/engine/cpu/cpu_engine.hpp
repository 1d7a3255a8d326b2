// Provider "cpu": our own kernels (cpu/native) where the CPU has AVX-512 and they cover the
// network, else f32 through oneDNN and a few loops of our own, which is also provider "onednn".
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
#include <vector>

#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

inline constexpr const char* kSpinCount = "1000";  // some 40 us

// One line of an engine report: what runs a layer.
struct LayerReport {
  std::string layer;
  std::string implementation;  // "onednn jit:avx512_core", "copy channels", "reference"
};

class CpuEngine : public Engine {
 public:
  // In order of execution; concats and splits that became addresses do not appear.
  virtual std::vector<LayerReport> layers() const = 0;
  // "LAYER: reason" for each layer that runs on a slower path than it might.
  virtual std::vector<std::string> declined() const = 0;
  // Memory of one context, bytes.
  virtual std::size_t context_bytes() const = 0;
};

// Provider::load. Packs the weights (a copy; the network is not kept). Its engines are CpuEngines;
// declined() of one over oneDNN says why our own kernels were not taken. FOVEA_ISA=avx2 and below
// leaves only oneDNN. Errors: kUnsupported, naming the layer that nothing can run;
// kInvalidArgument for a bad FOVEA_ISA.
Result<std::shared_ptr<const Engine>> load_cpu_engine(NetworkDefinition lowered, EngineInfo info,
                                                      const LayerTactics& tactics = {});
// oneDNN in f32, whatever the network's quantisation says. It chooses its kernels itself.
Result<std::shared_ptr<const Engine>> load_onednn_engine(NetworkDefinition lowered, EngineInfo info,
                                                         const LayerTactics& tactics = {});
// Provider::tune: of our own kernels.
Result<LayerTactics> tune_cpu_engine(const NetworkDefinition& lowered, const EngineInfo& info,
                                     const TuningConfig& config, const Progress& progress,
                                     TuningReport& report);

// Without AVX-512 VNNI an int8 plan runs in f32, without AVX512-FP16 an fp16 one does, and their
// engines' infos say so.
inline constexpr Provider kCpuProvider = {"cpu", load_cpu_engine, /*mixes_precisions=*/true,
                                          tune_cpu_engine};
inline constexpr Provider kOnednnProvider = {"onednn", load_onednn_engine};

// "oneDNN 2.6.3 avx512_core, kernels avx512 avx512_vnni": part of the plan cache's key.
std::string cpu_provider_version();

}  // namespace fovea::engine
