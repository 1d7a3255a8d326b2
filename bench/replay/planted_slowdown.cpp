// What makes a detector whose engine takes longer by a known share of its own time: 5 %, or what
// $FOVEA_BENCH_SLOWDOWN says (1.05 = 5 % more). Linked into bin/planted/fovea-detector, which is
// the product's node otherwise: its providers() are the product's rows with engines that are slowed.
// `fovea bench check` uses it to see whether a slowdown is found.
//
// Thread safety: as the engines'.
#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

#include "nodes/detector/engine/provider_list.hpp"

namespace fovea::engine {
namespace {

double planted_share() {
  const char* text = std::getenv("FOVEA_BENCH_SLOWDOWN");
  return text == nullptr ? 0.05 : std::strtod(text, nullptr) - 1;
}

class SlowedContext final : public ExecutionContext {
 public:
  explicit SlowedContext(std::unique_ptr<ExecutionContext> context)
      : context_(std::move(context)) {}

  const EngineInfo& info() const override { return context_->info(); }
  Result<> set_input_shape(const Dims& size) override { return context_->set_input_shape(size); }
  bool record_layer_times(std::span<std::chrono::nanoseconds> times) override {
    return context_->record_layer_times(times);
  }

  Result<Fence> enqueue(std::span<const BatchItem> batch) override {
    using Clock = std::chrono::steady_clock;
    static const double share = planted_share();
    const Clock::time_point begin = Clock::now();
    FOVEA_TRY(context_->execute(batch));
    const Clock::time_point end = Clock::now();
    const auto until = end + std::chrono::duration_cast<Clock::duration>(share * (end - begin));
    while (Clock::now() < until) {  // busy, as more work would be
    }
    return Fence();
  }

 private:
  const std::unique_ptr<ExecutionContext> context_;
};

class SlowedEngine final : public Engine {
 public:
  explicit SlowedEngine(std::shared_ptr<const Engine> engine) : engine_(std::move(engine)) {}

  const EngineInfo& info() const override { return engine_->info(); }
  EngineInspection inspect() const override { return engine_->inspect(); }
  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    FOVEA_ASSIGN(auto context, engine_->create_execution_context());
    return std::make_unique<SlowedContext>(std::move(context));
  }
  Result<Bindings> make_bindings(std::size_t items) const override {
    return engine_->make_bindings(items);
  }

 private:
  const std::shared_ptr<const Engine> engine_;
};

template <std::size_t I>
Result<std::shared_ptr<const Engine>> load_slowed(NetworkDefinition lowered, EngineInfo info,
                                                  const LayerTactics& tactics,
                                                  const SharedBytes& artifact) {
  FOVEA_ASSIGN(auto engine,
               kProviders[I].load(std::move(lowered), std::move(info), tactics, artifact));
  return std::make_shared<const SlowedEngine>(std::move(engine));
}

template <std::size_t... I>
constexpr auto slowed_rows(std::index_sequence<I...> /*rows*/) {
  std::array rows = kProviders;
  ((rows[I].load = load_slowed<I>), ...);
  return rows;
}

constexpr auto kSlowedProviders = slowed_rows(std::make_index_sequence<kProviders.size()>());

}  // namespace

std::span<const Provider> providers() { return kSlowedProviders; }

}  // namespace fovea::engine
