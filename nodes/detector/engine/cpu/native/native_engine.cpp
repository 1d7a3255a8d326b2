// See native_engine.hpp. A context resolves every address once; only those in the caller's memory
// change from item to item.
#include "nodes/detector/engine/cpu/native/native_engine.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include <fmt/core.h>

namespace fovea::engine::native {

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

class NativeContext final : public ExecutionContext {
 public:
  NativeContext(const Program& program, const EngineInfo& info)
      : program_(program), info_(info), arena_(allocate(program.arena_bytes)) {}

  Result<> prepare() {
    FOVEA_ASSIGN(pool_, cpu::ThreadPool::create({.threads = info_.threads}));
    std::size_t scratch = 0;
    for (const Step& step : program_.steps) {
      if (step.kernel) scratch = std::max(scratch, step.kernel->scratch_bytes(info_.threads));
    }
    scratch_ = allocate(scratch);
    bound_.resize(program_.steps.size());
    for (std::size_t i = 0; i < bound_.size(); ++i) {
      const Step& step = program_.steps[i];
      Bound& bound = bound_[i];
      bound.sources.resize(step.sources.size());
      bound.destinations.resize(step.destinations.size());
      for (std::size_t k = 0; k < step.sources.size(); ++k) {
        bind(step.sources[k], &bound.sources[k]);
      }
      for (std::size_t k = 0; k < step.destinations.size(); ++k) {
        const Location& to = step.destinations[k];
        if (to.where == Location::Where::kArena) {
          bound.destinations[k] = address(to);
        } else {
          outside_destinations_.push_back({&bound.destinations[k], to});
        }
      }
      if (step.fallback) {
        FOVEA_ASSIGN(bound.fallback, step.fallback->create());
      }
    }
    for (const std::int32_t buffer : program_.borders) fill(buffer);
    return {};
  }

  Result<> execute(std::span<const BatchItem> batch) override {
    FOVEA_TRY(check_batch(batch, info_));
    for (const BatchItem& item : batch) {
      for (const auto& [slot, location] : outside_sources_) {
        *slot = static_cast<const std::byte*>(item.input) + location.offset;
      }
      for (const auto& [slot, location] : outside_destinations_) {
        *slot = static_cast<std::byte*>(item.outputs[static_cast<std::size_t>(location.index)]) +
                location.offset;
      }
      FOVEA_TRY(times_.empty() ? run_steps() : run_and_time_steps());
    }
    return {};
  }

  bool record_layer_times(std::span<std::chrono::nanoseconds> times) override {
    if (!times.empty() && times.size() != program_.steps.size()) return false;
    times_ = times;
    return true;
  }

 private:
  struct Bound {
    std::vector<const void*> sources;
    std::vector<void*> destinations;
    std::unique_ptr<Fallback> fallback;
  };

  std::byte* address(const Location& location) const {
    return arena_.get() + program_.offsets[static_cast<std::size_t>(location.index)] +
           location.offset;
  }
  void bind(const Location& from, const void** slot) {
    if (from.where == Location::Where::kArena) {
      *slot = address(from);
    } else {
      outside_sources_.push_back({slot, from});
    }
  }
  void fill(std::int32_t buffer) {
    const auto index = static_cast<std::size_t>(buffer);
    fill_border(program_.buffers[index], arena_.get() + program_.offsets[index]);
  }

  Result<> run_step(std::size_t i) {
    const Step& step = program_.steps[i];
    for (const std::int32_t buffer : step.borders) fill(buffer);
    Bound& bound = bound_[i];
    const kernels::Arguments arguments{bound.sources, bound.destinations, scratch_.get()};
    if (step.kernel) {
      step.kernel->run(arguments, *pool_);
      return {};
    }
    auto ran = bound.fallback->run(arguments);
    if (!ran) return fail(ran.error().with_context(fmt::format("layer '{}'", step.layer)));
    return {};
  }

  Result<> run_steps() {
    for (std::size_t i = 0; i < bound_.size(); ++i) FOVEA_TRY(run_step(i));
    return {};
  }
  Result<> run_and_time_steps() {
    auto then = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < bound_.size(); ++i) {
      FOVEA_TRY(run_step(i));
      const auto now = std::chrono::steady_clock::now();
      times_[i] += now - std::exchange(then, now);
    }
    return {};
  }

  const Program& program_;  // the engine's, which outlives its contexts
  const EngineInfo& info_;
  AlignedMemory arena_;
  AlignedMemory scratch_;
  std::unique_ptr<cpu::ThreadPool> pool_;
  std::vector<Bound> bound_;
  std::vector<std::pair<const void**, Location>> outside_sources_;
  std::vector<std::pair<void**, Location>> outside_destinations_;
  std::span<std::chrono::nanoseconds> times_;
};

class NativeEngine final : public CpuEngine {
 public:
  NativeEngine(Program program, EngineInfo info)
      : program_(std::move(program)), info_(std::move(info)) {}

  const EngineInfo& info() const override { return info_; }

  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    try {
      auto context = std::make_unique<NativeContext>(program_, info_);
      FOVEA_TRY(context->prepare());
      return context;
    } catch (const std::bad_alloc&) {
      return fail(ErrorCode::kExhausted, "execution context: not enough memory");
    }
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
  return std::make_shared<const NativeEngine>(std::move(program), std::move(info));
}

}  // namespace fovea::engine::native
