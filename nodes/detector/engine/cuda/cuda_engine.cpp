#include "nodes/detector/engine/cuda/cuda_engine.hpp"

#include <utility>

#include <fmt/format.h>

#include "nodes/detector/engine/cuda/compiler.hpp"
#include "nodes/detector/engine/cuda/context.hpp"
#include "nodes/detector/engine/cuda/tuner.hpp"
#include "nodes/detector/engine/quantization/quantization.hpp"

namespace fovea::engine {

namespace {

class GpuEngine final : public Engine {
 public:
  GpuEngine(cuda::LoadedProgram program, EngineInfo info)
      : program_(std::move(program)), info_(std::move(info)) {}

  const EngineInfo& info() const override { return info_; }

  EngineInspection inspect() const override {
    EngineInspection found;
    for (const cuda::Launch& launch : program_.program.launches) {
      found.layers.push_back({launch.layer, "cuda " + launch.choices.back().kernel, launch.fused});
    }
    found.declined = program_.program.declined;
    found.context_bytes = cuda::GpuContext::bytes(program_, info_);
    return found;
  }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    return cuda::GpuContext::create(program_, info_);
  }

 private:
  const cuda::LoadedProgram program_;
  const EngineInfo info_;
};

}  // namespace

Result<> cuda_available() {
  FOVEA_TRY(cuda::Gpu::find());
  return {};
}

std::string cuda_identity() {
  const auto gpu = cuda::Gpu::find();
  return gpu ? (*gpu)->identity() : "no CUDA GPU";
}

Result<std::shared_ptr<const Engine>> load_cuda_engine(NetworkDefinition lowered, EngineInfo info,
                                                       const LayerTactics& tactics,
                                                       const SharedBytes& /*artifact*/) {
  FOVEA_ASSIGN(const cuda::Gpu* gpu, cuda::Gpu::find());
  if (!lowered.quantization.empty()) info.precision = Precision::kFp16;  // what will run
  unpack_weights(lowered);
  FOVEA_ASSIGN(cuda::Program program, cuda::compile(std::move(lowered), {.tactics = tactics,
                                                                         .images = info.max_batch,
                                                                         .limits = gpu->limits()}));
  FOVEA_ASSIGN(cuda::LoadedProgram loaded, cuda::load_program(*gpu, std::move(program)));
  return std::make_shared<const GpuEngine>(std::move(loaded), std::move(info));
}

Result<LayerTactics> tune_cuda_engine(const NetworkDefinition& lowered, const EngineInfo& info,
                                      const TuningConfig& config, const Progress& progress,
                                      TuningReport& report) {
  FOVEA_ASSIGN(const cuda::Gpu* gpu, cuda::Gpu::find());
  return cuda::tune(*gpu, lowered, info, config, progress, report);
}

}  // namespace fovea::engine
