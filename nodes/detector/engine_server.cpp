// See engine_server.hpp.
#include "nodes/detector/engine_server.hpp"

#include <chrono>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nodes/detector/builder_process.hpp"
#include "nodes/detector/model_description.hpp"

namespace fovea {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Memory at the alignment that bindings need, painted grey.
class Aligned {
 public:
  explicit Aligned(std::size_t bytes)
      : memory_(static_cast<std::byte*>(::operator new[](bytes + 64, kAlignment))) {
    std::memset(memory_.get(), 114, bytes);
  }
  std::byte* get() const { return memory_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete[](memory, kAlignment); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
};

std::vector<std::string> build_command(const PlanRequest& request, const PlanCache& cache) {
  const engine::BuilderConfig& config = request.config;
  std::vector<std::string> command = {builder_executable().string(),
                                      "build",
                                      "--end-with-parent",
                                      "--onnx",
                                      request.model.string(),
                                      "--provider",
                                      config.provider,
                                      "--precision",
                                      config.precision,
                                      "--batch",
                                      std::to_string(config.max_batch),
                                      "--threads",
                                      std::to_string(config.threads),
                                      "--cache-dir",
                                      cache.folder().string()};
  if (config.keep_output0) command.emplace_back("--keep-output0");
  return command;
}

}  // namespace

EngineServer::EngineServer(PlanRequest request, const std::filesystem::path& cache_dir,
                           ServerEvents events)
    : request_(std::move(request)), cache_(cache_dir), events_(std::move(events)) {}

EngineServer::~EngineServer() {
  if (builder_.joinable()) {
    stopping_ = true;
    ::eventfd_write(stop_fd_, 1);
    builder_.join();
  }
  if (stop_fd_ >= 0) ::close(stop_fd_);
}

Result<std::unique_ptr<EngineServer>> EngineServer::start(const PlanRequest& request,
                                                          const std::filesystem::path& cache_dir,
                                                          BuildMode mode, ServerEvents events) {
  auto server =
      std::unique_ptr<EngineServer>(new EngineServer(request, cache_dir, std::move(events)));
  FOVEA_TRY(server->load(mode));
  return server;
}

Result<> EngineServer::load(BuildMode mode) {
  const auto progress = [this](std::string_view stage, double done) {
    events_.progress({.stage = stage, .done = done});
  };
  if (mode == BuildMode::kBeside ||
      (mode == BuildMode::kAuto && request_.config.precision != "fp32")) {
    FOVEA_ASSIGN(const CacheStatus wanted, cache_.status(request_));
    if (!wanted.cached) {
      const auto start = std::chrono::steady_clock::now();
      engine::BuilderConfig untuned = request_.config;
      untuned.precision = "fp32";
      FOVEA_ASSIGN(const engine::Plan plan, engine::build_plan(request_.model, untuned, progress));
      FOVEA_ASSIGN(serving_, make_ready(plan, progress));
      info_ = serving_.engine->info();
      events_.serving(info_, /*cached=*/false, seconds_since(start));
      events_.information(
          fmt::format("an untuned fp32 engine serves while plan {:.12} is built: {}", wanted.key,
                      wanted.reason));
      stop_fd_ = ::eventfd(0, EFD_CLOEXEC);
      if (stop_fd_ < 0) return fail_errno(ErrorCode::kExhausted, "eventfd");
      builder_ = std::thread([this, wanted] { build_beside(wanted); });
      return {};
    }
  }
  FOVEA_ASSIGN(const CachedPlan cached, cache_.get_or_build(request_, progress));
  if (!cached.warning.empty()) events_.warning(cached.warning);
  if (cached.hit) {
    events_.information(
        fmt::format("plan {:.12} from the cache in {:.0f} ms", cached.key, cached.seconds * 1e3));
  } else {
    events_.information(fmt::format("plan {:.12} built in {:.1f} s: {}", cached.key, cached.seconds,
                                    cached.reason));
  }
  FOVEA_ASSIGN(serving_, make_ready(cached.plan, progress));
  info_ = serving_.engine->info();
  events_.serving(info_, cached.hit, cached.seconds);
  return {};
}

Result<EngineServer::Serving> EngineServer::make_ready(const engine::Plan& plan,
                                                       const engine::Progress& progress) const {
  Serving serving;
  FOVEA_ASSIGN(serving.engine, engine::load_engine(plan));
  FOVEA_ASSIGN(serving.context, serving.engine->create_execution_context());
  FOVEA_TRY(warm_up(serving, progress));
  return serving;
}

// Every batch size once, so that no frame pays for first-use costs.
Result<> EngineServer::warm_up(const Serving& serving, const engine::Progress& progress) const {
  const engine::EngineInfo& info = serving.engine->info();
  const Aligned input(info.input.bytes);
  std::vector<Aligned> outputs;
  std::vector<void*> pointers;
  for (const engine::TensorSpec& output : info.outputs) {
    outputs.emplace_back(output.bytes);
    pointers.push_back(outputs.back().get());
  }
  std::vector<engine::BatchItem> items;
  for (std::int32_t size = 1; size <= info.max_batch && !events_.stop_requested(); ++size) {
    if (progress) progress(fmt::format("warm up batch {} of {}", size, info.max_batch), 1);
    items.push_back({.input = input.get(), .outputs = pointers});
    FOVEA_TRY(serving.context->execute(items));
  }
  return {};
}

void EngineServer::build_beside(const CacheStatus& wanted) {
  if (const auto built = wait_for_build(wanted); !built && !stopping_) {
    events_.warning(fmt::format("plan {:.12} is not to be had, the untuned engine serves on: {}",
                                wanted.key, built.error().message));
  }
}

Result<> EngineServer::wait_for_build(const CacheStatus& wanted) {
  const auto start = std::chrono::steady_clock::now();
  FOVEA_TRY(run_builder(
      build_command(request_, cache_), stop_fd_, [&](std::string_view stage, double done) {
        const double eta = done > 0 ? seconds_since(start) * (1 - done) / done : -1.0;
        events_.progress({stage, done, eta, /*beside=*/true});
      }));
  FOVEA_ASSIGN(const engine::Plan plan, cache_.find(wanted.key, wanted.inputs));
  FOVEA_ASSIGN(Serving next, make_ready(plan, {}));
  if (!same_bindings(next.engine->info(), info_)) {
    return fail(ErrorCode::kInternal, "its outputs differ from those that are served");
  }
  next.seconds = seconds_since(start);
  const std::lock_guard lock(mutex_);
  next_ = std::move(next);
  next_ready_ = true;
  return {};
}

Result<> EngineServer::execute(std::span<const engine::BatchItem> batch) {
  if (next_ready_.load(std::memory_order_acquire)) {
    Serving previous;
    {
      const std::lock_guard lock(mutex_);
      previous = std::exchange(serving_, std::move(next_));
      next_ready_ = false;
    }
    events_.serving(serving_.engine->info(), /*cached=*/false, serving_.seconds);
  }
  return serving_.context->execute(batch);
}

}  // namespace fovea
