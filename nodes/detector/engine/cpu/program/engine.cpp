#include "nodes/detector/engine/cpu/program/engine.hpp"

#include <utility>

#include "nodes/detector/engine/cpu/program/context.hpp"

namespace fovea::engine::cpu {

namespace {

class ProgramEngine final : public Engine {
 public:
  ProgramEngine(Program program, EngineInfo info)
      : program_(std::move(program)), info_(std::move(info)) {}

  const EngineInfo& info() const override { return info_; }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    return ProgramContext::create(program_, info_);
  }

  EngineInspection inspect() const override {
    EngineInspection found;
    for (const Step& step : program_.steps) {
      found.layers.push_back({step.layer, step.implementation, step.fused});
    }
    found.declined = program_.declined;
    found.context_bytes = program_.arena.bytes + scratch_bytes(program_, info_.threads);
    return found;
  }

 private:
  const Program program_;
  const EngineInfo info_;
};

}  // namespace

std::shared_ptr<const Engine> make_engine(Program program, EngineInfo info) {
  return std::make_shared<const ProgramEngine>(std::move(program), std::move(info));
}

}  // namespace fovea::engine::cpu
