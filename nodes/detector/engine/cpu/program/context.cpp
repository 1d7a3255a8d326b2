#include "nodes/detector/engine/cpu/program/context.hpp"

#include <algorithm>
#include <new>

#include <fmt/core.h>

#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine::cpu {

ProgramContext::ProgramContext(const Program& program, const EngineInfo& info)
    : program_(program), info_(info), arena_(allocate_host(program.arena.bytes)) {}

Result<std::unique_ptr<ProgramContext>> ProgramContext::create(const Program& program,
                                                               const EngineInfo& info) {
  try {
    auto context = std::unique_ptr<ProgramContext>(new ProgramContext(program, info));
    FOVEA_TRY(context->prepare());
    return context;
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kExhausted, "execution context: not enough memory");
  }
}

Result<> ProgramContext::prepare() {
  FOVEA_ASSIGN(pool_, ThreadPool::create({.threads = pool_threads()}));
  scratch_bytes_ = scratch_bytes(program_, info_.threads);
  scratch_ = allocate_host(scratch_bytes_);
  bound_.resize(program_.steps.size());
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    const Step& step = program_.steps[i];
    Bound& bound = bound_[i];
    bound.kernel = step.kernel.get();
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
    if (step.operation) {
      const kernels::Arguments fixed{bound.sources, bound.destinations, scratch_.get()};
      FOVEA_ASSIGN(bound.operation, step.operation->create(info_.threads, fixed));
    }
  }
  for (const std::int32_t buffer : program_.arena.borders) fill(buffer);
  return {};
}

// A library's operations bring their own threads.
int ProgramContext::pool_threads() const {
  const bool has_kernels = std::any_of(program_.steps.begin(), program_.steps.end(),
                                       [](const Step& step) { return step.kernel != nullptr; });
  return has_kernels ? info_.threads : 1;
}

void ProgramContext::replace(std::size_t step, const kernels::Kernel& kernel) {
  bound_[step].kernel = &kernel;
  const std::size_t bytes = kernel.scratch_bytes(info_.threads);
  if (bytes <= scratch_bytes_) return;
  scratch_ = allocate_host(bytes);
  scratch_bytes_ = bytes;
}

Result<Fence> ProgramContext::enqueue(std::span<const BatchItem> batch) {
  FOVEA_TRY(check_batch(batch, info_));
  for (const BatchItem& item : batch) {
    const auto output = [&](const Location& location) {
      const MemoryView& view = item.outputs[static_cast<std::size_t>(location.index)];
      return static_cast<std::byte*>(view.data) + location.offset;
    };
    for (const auto& [slot, location] : outside_sources_) {
      *slot = location.where == Location::Where::kOutput
                  ? output(location)
                  : static_cast<const std::byte*>(item.input.data) + location.offset;
    }
    for (const auto& [slot, location] : outside_destinations_) *slot = output(location);
    FOVEA_TRY(times_.empty() ? run_steps() : run_and_time_steps());
  }
  return Fence();
}

bool ProgramContext::record_layer_times(std::span<std::chrono::nanoseconds> times) {
  if (!times.empty() && times.size() != program_.steps.size()) return false;
  times_ = times;
  return true;
}

std::byte* ProgramContext::address(const Location& location) const {
  return arena_.get() + program_.arena.offsets[static_cast<std::size_t>(location.index)] +
         location.offset;
}

void ProgramContext::bind(const Location& from, const void** slot) {
  if (from.where == Location::Where::kArena) {
    *slot = address(from);
  } else {
    outside_sources_.push_back({slot, from});
  }
}

void ProgramContext::fill(std::int32_t buffer) {
  const auto index = static_cast<std::size_t>(buffer);
  fill_border(program_.arena.buffers[index], arena_.get() + program_.arena.offsets[index]);
}

Result<> ProgramContext::run_step(std::size_t i) {
  const Step& step = program_.steps[i];
  for (const std::int32_t buffer : step.refills) fill(buffer);
  Bound& bound = bound_[i];
  const kernels::Arguments arguments{bound.sources, bound.destinations, scratch_.get()};
  if (bound.kernel != nullptr) {
    bound.kernel->run(arguments, *pool_);
    return {};
  }
  auto ran = bound.operation->run(arguments);
  if (!ran) return fail(ran.error().with_context(fmt::format("layer '{}'", step.layer)));
  return {};
}

Result<> ProgramContext::run_steps() {
  for (std::size_t i = 0; i < bound_.size(); ++i) FOVEA_TRY(run_step(i));
  return {};
}

Result<> ProgramContext::run_and_time_steps() {
  auto then = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    FOVEA_TRY(run_step(i));
    const auto now = std::chrono::steady_clock::now();
    times_[i] += now - std::exchange(then, now);
  }
  return {};
}

}  // namespace fovea::engine::cpu
