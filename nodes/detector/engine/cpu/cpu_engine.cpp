#include "nodes/detector/engine/cpu/cpu_engine.hpp"

#include <new>
#include <utility>

#include <omp.h>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/native/provider.hpp"
#include "nodes/detector/engine/cpu/native/tuner.hpp"
#include "nodes/detector/engine/cpu/onednn/compiler.hpp"
#include "nodes/detector/engine/cpu/onednn/primitives.hpp"
#include "nodes/detector/engine/cpu/program/engine.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

namespace {

// oneDNN divides a primitive's work by the thread count at its creation, not at its execution.
Result<cpu::Program> compile_onednn(const NetworkDefinition& lowered, std::int64_t block,
                                    const EngineInfo& info) {
  omp_set_num_threads(info.threads);
  return cpu::onednn::compile(lowered, block);
}

}  // namespace

Result<std::shared_ptr<const Engine>> load_onednn_engine(NetworkDefinition lowered, EngineInfo info,
                                                         const LayerTactics& /*tactics*/,
                                                         const SharedBytes& /*artifact*/) {
  FOVEA_TRY(onednn_available());
  FOVEA_ASSIGN(const std::int64_t block, cpu::onednn::select_instruction_set());
  try {
    FOVEA_ASSIGN(cpu::Program program, compile_onednn(lowered, block, info));
    return cpu::make_engine(std::move(program), std::move(info));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "not enough memory for the engine");
  }
}

Result<std::shared_ptr<const Engine>> load_cpu_engine(NetworkDefinition lowered, EngineInfo info,
                                                      const LayerTactics& tactics,
                                                      const SharedBytes& /*artifact*/) {
  FOVEA_ASSIGN(const std::int64_t block, cpu::onednn::select_instruction_set());
  try {
    auto native = cpu::native::load(lowered, info, {.tactics = tactics});
    if (native) return std::shared_ptr<const Engine>(std::move(*native));
    if (!lowered.quantization.empty()) info.precision = Precision::kFp32;  // what will run
    unpack_weights(lowered);
    FOVEA_ASSIGN(cpu::Program program, compile_onednn(lowered, block, info));
    program.declined.insert(program.declined.begin(), "own kernels: " + native.error().message);
    return cpu::make_engine(std::move(program), std::move(info));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "not enough memory for the engine");
  }
}

Result<LayerTactics> tune_cpu_engine(const NetworkDefinition& lowered, const EngineInfo& info,
                                     const TuningConfig& config, const Progress& progress,
                                     TuningReport& report) {
  try {
    return cpu::native::tune(lowered, info, config, progress, report);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "not enough memory for tuning");
  }
}

Result<> onednn_available() {
  if (cpu::onednn::is_built()) return {};
  return fail(ErrorCode::kUnsupported,
              "this build has no oneDNN; provider cpu runs without it, on Fovea's own kernels");
}

std::string cpu_identity() {
  (void)cpu::onednn::select_instruction_set();  // a bad FOVEA_ISA is reported when an engine is loaded
  return cpu::onednn::library_version() + ", kernels " + kernels::to_string(kernels::cpu_features());
}

}  // namespace fovea::engine
