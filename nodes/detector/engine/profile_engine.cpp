#include "nodes/detector/engine/profile_engine.hpp"

#include <map>
#include <mutex>
#include <utility>

namespace fovea::engine {

namespace {

// The engines that are in use, by size; opt always is.
class Sizes {
 public:
  Sizes(std::shared_ptr<const Engine> opt, LoadAtSize load)
      : opt_(std::move(opt)), load_(std::move(load)) {}

  const std::shared_ptr<const Engine>& opt() const { return opt_; }

  Result<std::shared_ptr<const Engine>> at(const Dims& size) const {
    if (size == opt_->info().input.dims) return opt_;
    const std::lock_guard lock(mutex_);
    if (const auto known = others_.find(size); known != others_.end()) {
      if (auto engine = known->second.lock()) return engine;
    }
    FOVEA_ASSIGN(auto engine, load_(size));
    others_[size] = engine;
    return engine;
  }

 private:
  const std::shared_ptr<const Engine> opt_;
  const LoadAtSize load_;
  mutable std::mutex mutex_;
  mutable std::map<Dims, std::weak_ptr<const Engine>> others_;
};

class ProfileContext final : public ExecutionContext {
 public:
  ProfileContext(const Sizes& sizes, std::shared_ptr<const Engine> engine,
                 std::unique_ptr<ExecutionContext> context)
      : sizes_(sizes), engine_(std::move(engine)), context_(std::move(context)) {}

  const EngineInfo& info() const override { return engine_->info(); }

  Result<> set_input_shape(const Dims& size) override {
    if (size == info().input.dims) return {};
    FOVEA_ASSIGN(auto engine, sizes_.at(size));
    FOVEA_ASSIGN(auto context, engine->create_execution_context());
    context_ = std::move(context);  // before the engine that the old one needs
    engine_ = std::move(engine);
    return {};
  }

  Result<Fence> enqueue(std::span<const BatchItem> batch) override {
    return context_->enqueue(batch);
  }
  bool record_layer_times(std::span<std::chrono::nanoseconds> times) override {
    return context_->record_layer_times(times);
  }

 private:
  const Sizes& sizes_;  // the engine's, which outlives its contexts
  std::shared_ptr<const Engine> engine_;
  std::unique_ptr<ExecutionContext> context_;  // destroyed before its engine
};

class ProfileEngine final : public Engine {
 public:
  ProfileEngine(std::shared_ptr<const Engine> opt, LoadAtSize load)
      : sizes_(std::move(opt), std::move(load)) {}

  const EngineInfo& info() const override { return sizes_.opt()->info(); }
  EngineInspection inspect() const override { return sizes_.opt()->inspect(); }
  Result<std::unique_ptr<ExecutionContext>> create_execution_context() const override {
    FOVEA_ASSIGN(auto context, sizes_.opt()->create_execution_context());
    return std::make_unique<ProfileContext>(sizes_, sizes_.opt(), std::move(context));
  }
  Result<Bindings> make_bindings(std::size_t items) const override {
    return sizes_.opt()->make_bindings(items);
  }

 private:
  const Sizes sizes_;
};

}  // namespace

std::shared_ptr<const Engine> make_profile_engine(std::shared_ptr<const Engine> opt,
                                                  LoadAtSize load) {
  return std::make_shared<const ProfileEngine>(std::move(opt), std::move(load));
}

}  // namespace fovea::engine
