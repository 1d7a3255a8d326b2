// See native_engine.hpp.
#include "nodes/detector/engine/cpu/native/native_engine.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/native/context.hpp"

namespace fovea::engine::native {

namespace {

class NativeEngine final : public CpuEngine {
 public:
  NativeEngine(Program program, EngineInfo info)
      : program_(std::move(program)), info_(std::move(info)) {}

  const EngineInfo& info() const override { return info_; }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    return NativeContext::create(program_, info_);
  }

  std::vector<LayerReport> layers() const override {
    std::vector<LayerReport> reports;
    reports.reserve(program_.steps.size());
    for (const Step& step : program_.steps) reports.push_back({step.layer, step.implementation});
    return reports;
  }
  std::vector<std::string> declined() const override { return program_.declined; }
  std::size_t context_bytes() const override {
    std::size_t scratch = 0;
    for (const Step& step : program_.steps) {
      if (step.kernel) scratch = std::max(scratch, step.kernel->scratch_bytes(info_.threads));
    }
    return program_.arena_bytes + scratch;
  }

 private:
  const Program program_;
  const EngineInfo info_;
};

}  // namespace

Result<std::shared_ptr<const CpuEngine>> load(const NetworkDefinition& lowered, EngineInfo info,
                                              const CompileOptions& options) {
  if (!options.features.avx512) {
    return fail(ErrorCode::kUnsupported, "the CPU or FOVEA_ISA has no AVX-512");
  }
  FOVEA_ASSIGN(Program program, compile(lowered, options));
  if (info.precision == "fp16" && !options.features.avx512_fp16 &&
      !options.features.emulated_fp16) {
    info.precision = "fp32";  // what will run
    program.declined.push_back(
        fmt::format("fp16 runs as fp32: needs avx512_fp16, the CPU or FOVEA_ISA has: {}",
                    kernels::to_string(options.features)));
  }
  return std::make_shared<const NativeEngine>(std::move(program), std::move(info));
}

}  // namespace fovea::engine::native
