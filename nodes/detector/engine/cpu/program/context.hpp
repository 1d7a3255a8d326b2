// One thread's memory for a compiled program. Resolves every address once; only those in the
// caller's memory change from item to item.
//
// Thread safety: none. Allocates only when created and in replace().
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/cpu/thread_pool.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine::cpu {

class ProgramContext final : public ExecutionContext {
 public:
  // Both must outlive it. Errors: kExhausted.
  static Result<std::unique_ptr<ProgramContext>> create(const Program& program,
                                                        const EngineInfo& info);

  const EngineInfo& info() const override { return info_; }
  Result<Fence> enqueue(std::span<const BatchItem> batch) override;
  bool record_layer_times(std::span<std::chrono::nanoseconds> times) override;

  // Runs `kernel`, of the same layer with another tactic, at `step` from now on; for the tuner.
  // REQUIRES: it outlives its use.
  void replace(std::size_t step, const kernels::Kernel& kernel);

 private:
  struct Bound {
    const kernels::Kernel* kernel = nullptr;
    std::vector<const void*> sources;
    std::vector<void*> destinations;
    std::unique_ptr<Operation> operation;
  };

  ProgramContext(const Program& program, const EngineInfo& info);
  Result<> prepare();
  int pool_threads() const;
  std::byte* address(const Location& location) const;
  void bind(const Location& from, const void** slot);
  void fill(std::int32_t buffer);
  Result<> run_step(std::size_t i);
  Result<> run_steps();
  Result<> run_and_time_steps();

  const Program& program_;  // the engine's, which outlives its contexts
  const EngineInfo& info_;
  HostMemory arena_;
  HostMemory scratch_;
  std::size_t scratch_bytes_ = 0;
  std::unique_ptr<ThreadPool> pool_;
  std::vector<Bound> bound_;
  std::vector<std::pair<const void**, Location>> outside_sources_;
  std::vector<std::pair<void**, Location>> outside_destinations_;
  std::span<std::chrono::nanoseconds> times_;
};

}  // namespace fovea::engine::cpu
