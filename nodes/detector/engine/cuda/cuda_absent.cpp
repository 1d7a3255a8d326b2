// Stands in for the provider in a build without the CUDA compiler.
#include "nodes/detector/engine/cuda/cuda_engine.hpp"

namespace fovea::engine {

Result<> cuda_available() {
  return fail(ErrorCode::kUnsupported,
              "this build has no CUDA; configure with nvcc on the path or FOVEA_CUDA=ON");
}

std::string cuda_identity() { return "no CUDA"; }

Result<std::shared_ptr<const Engine>> load_cuda_engine(NetworkDefinition /*lowered*/,
                                                       EngineInfo /*info*/,
                                                       const LayerTactics& /*tactics*/,
                                                       const SharedBytes& /*artifact*/) {
  return fail(cuda_available().error());
}

Result<LayerTactics> tune_cuda_engine(const NetworkDefinition& /*lowered*/,
                                      const EngineInfo& /*info*/, const TuningConfig& /*config*/,
                                      const Progress& /*progress*/, TuningReport& /*report*/) {
  return fail(cuda_available().error());
}

}  // namespace fovea::engine
