#include "nodes/detector/engine/cpu/program/engine.hpp"

#include <utility>

#include "nodes/detector/engine/cpu/program/context.hpp"

namespace fovea::engine::cpu {

namespace {

class ProgramEngine final : public CpuEngine {
 public:
  ProgramEngine(Program program, EngineInfo info)
      : program_(std::move(program)), info_(std::move(info)) {}

  const EngineInfo& info() const override { return info_; }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    return ProgramContext::create(program_, info_);
  }

  std::vector<LayerReport> layers() const override {
    std::vector<LayerReport> reports;
    reports.reserve(program_.steps.size());
    for (const Step& step : program_.steps) reports.push_back({step.layer, step.implementation});
    return reports;
  }
  std::vector<std::string> declined() const override { return program_.declined; }
  std::size_t context_bytes() const override {
    return program_.arena.bytes + scratch_bytes(program_, info_.threads);
  }

 private:
  const Program program_;
  const EngineInfo info_;
};

}  // namespace

std::shared_ptr<const CpuEngine> make_engine(Program program, EngineInfo info) {
  return std::make_shared<const ProgramEngine>(std::move(program), std::move(info));
}

}  // namespace fovea::engine::cpu
