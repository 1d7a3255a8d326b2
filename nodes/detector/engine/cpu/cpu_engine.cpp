// Engine = compiled program; context = one arena, one scratchpad and the program's steps bound to
// them.
#include "nodes/detector/engine/cpu/cpu_engine.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include <fmt/core.h>
#include <omp.h>

#include "nodes/detector/engine/cpu/compiler.hpp"
#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/native/native_engine.hpp"
#include "nodes/detector/engine/cpu/native/tuner.hpp"
#include "nodes/detector/engine/cpu/onednn.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

namespace {

constexpr std::size_t kAlignment = 64;

struct AlignedDelete {
  void operator()(std::byte* memory) const {
    ::operator delete[](memory, std::align_val_t{kAlignment});
  }
};
using AlignedMemory = std::unique_ptr<std::byte[], AlignedDelete>;

AlignedMemory allocate(std::size_t bytes) {
  return AlignedMemory(static_cast<std::byte*>(
      ::operator new[](std::max<std::size_t>(bytes, 1), std::align_val_t{kAlignment})));
}

class CpuContext : public ExecutionContext {
 public:
  CpuContext(const cpu::Program& program, const EngineInfo& info)
      : program_(program),
        info_(info),
        arena_(allocate(program.arena_bytes)),
        scratchpad_(allocate(program.scratchpad_bytes)) {
    frame_.arena = arena_.get();
    frame_.scratchpad = scratchpad_.get();
    frame_.buffer_offsets = &program.buffer_offsets;
    runners_.reserve(program.steps.size());
    for (const cpu::Step& step : program.steps) runners_.push_back(step.bind(frame_));
  }

  const EngineInfo& info() const override { return info_; }

  Result<> execute(std::span<const BatchItem> batch) override {
    FOVEA_TRY(check_batch(batch, info_));
    omp_set_num_threads(info_.threads);  // of this thread; another one may run another engine
    for (const BatchItem& item : batch) {
      frame_.input = item.input;
      frame_.outputs = item.outputs;
      FOVEA_TRY(times_.empty() ? run_steps() : run_and_time_steps());
    }
    return {};
  }

  bool record_layer_times(std::span<std::chrono::nanoseconds> times) override {
    if (!times.empty() && times.size() != runners_.size()) return false;
    times_ = times;
    return true;
  }

 private:
  Result<> run_steps() {
    for (std::size_t i = 0; i < runners_.size(); ++i) {
      if (!runners_[i]()) return failed(i);
    }
    return {};
  }
  Result<> run_and_time_steps() {
    for (std::size_t i = 0; i < runners_.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      if (!runners_[i]()) return failed(i);
      times_[i] += std::chrono::steady_clock::now() - start;
    }
    return {};
  }
  tl::unexpected<Error> failed(std::size_t step) const {
    return fail(ErrorCode::kInternal,
                fmt::format("layer {} failed in {}", program_.steps[step].layer,
                            program_.steps[step].implementation));
  }

  const cpu::Program& program_;
  const EngineInfo& info_;
  AlignedMemory arena_;
  AlignedMemory scratchpad_;
  cpu::Frame frame_;
  std::vector<cpu::Runner> runners_;
  std::span<std::chrono::nanoseconds> times_;  // of the steps; empty = not wanted
};

class CpuEngineImpl : public CpuEngine {
 public:
  CpuEngineImpl(cpu::Program program, EngineInfo info)
      : program_(std::move(program)), info_(std::move(info)) {}

  const EngineInfo& info() const override { return info_; }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    try {
      return std::make_unique<CpuContext>(program_, info_);
    } catch (const std::exception& error) {  // oneDNN's and bad_alloc
      return fail(ErrorCode::kExhausted, fmt::format("execution context: {}", error.what()));
    }
  }

  std::vector<LayerReport> layers() const override {
    std::vector<LayerReport> reports;
    for (const cpu::Step& step : program_.steps)
      reports.push_back({step.layer, step.implementation});
    return reports;
  }
  std::vector<std::string> declined() const override { return program_.declined; }
  std::size_t context_bytes() const override {
    return program_.arena_bytes + program_.scratchpad_bytes;
  }

 private:
  const cpu::Program program_;
  const EngineInfo info_;
};

// oneDNN divides a primitive's work by the thread count at its creation, not at its execution.
Result<cpu::Program> compile_onednn(const NetworkDefinition& lowered, std::int64_t block,
                                    const EngineInfo& info) {
  omp_set_num_threads(info.threads);
  return cpu::compile(lowered, block);
}

}  // namespace

Result<std::shared_ptr<const Engine>> load_onednn_engine(NetworkDefinition lowered, EngineInfo info,
                                                         const LayerTactics& /*tactics*/) {
  FOVEA_ASSIGN(const std::int64_t block, cpu::select_instruction_set());
  try {
    FOVEA_ASSIGN(cpu::Program program, compile_onednn(lowered, block, info));
    return std::make_shared<const CpuEngineImpl>(std::move(program), std::move(info));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "not enough memory for the engine");
  }
}

Result<std::shared_ptr<const Engine>> load_cpu_engine(NetworkDefinition lowered, EngineInfo info,
                                                      const LayerTactics& tactics) {
  FOVEA_ASSIGN(const std::int64_t block, cpu::select_instruction_set());
  try {
    auto native = native::load(lowered, info, {.tactics = tactics});
    if (native) return std::shared_ptr<const Engine>(std::move(*native));
    if (!lowered.quantization.empty()) info.precision = "fp32";  // what will run
    unpack_weights(lowered);
    FOVEA_ASSIGN(cpu::Program program, compile_onednn(lowered, block, info));
    program.declined.insert(program.declined.begin(), "own kernels: " + native.error().message);
    return std::make_shared<const CpuEngineImpl>(std::move(program), std::move(info));
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "not enough memory for the engine");
  }
}

Result<LayerTactics> tune_cpu_engine(const NetworkDefinition& lowered, const EngineInfo& info,
                                     const TuningConfig& config, const Progress& progress,
                                     TuningReport& report) {
  try {
    return native::tune(lowered, info, config, progress, report);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "not enough memory for tuning");
  }
}

std::string cpu_provider_version() {
  (void)cpu::select_instruction_set();  // a bad FOVEA_ISA is reported when an engine is loaded
  return cpu::library_version() + ", kernels " + kernels::to_string(kernels::cpu_features());
}

}  // namespace fovea::engine
