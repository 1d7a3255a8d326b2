#include "nodes/detector/serving/engine_server.hpp"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <malloc.h>
#include <nlohmann/json.hpp>

#include "nodes/base/json.hpp"
#include "nodes/detector/cache/builder_process.hpp"
#include "nodes/detector/cache/engine_build.hpp"
#include "nodes/detector/model_description.hpp"

namespace fovea {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Calibrating from pictures and measuring on them takes a minute; a finished table takes a moment.
bool calibrates(const EngineRequest& request) {
  std::error_code error;
  return request.quantizes() && std::filesystem::is_directory(request.calibration, error);
}

// Tuning takes some seconds.
bool takes_long(const EngineRequest& request, const PlanRequest& plan) {
  return calibrates(request) || engine::can_be_tuned(plan.config);
}

// What this process decided holds for the other one, too; how many threads help is found out there.
std::vector<std::string> build_command(EngineRequest request, const PlanRequest& plan,
                                       const PlanCache& cache) {
  request.max_batch = plan.config.max_batch;
  request.cache_dir = cache.folder().string();
  request.no_cache = !cache.is_used();
  return {builder_executable().string(),
          "build",
          "--end-with-parent",
          "--json",
          "-",
          "--hand-over",
          std::to_string(kPlanDescriptor),
          "--request",
          to_json(request)};
}

struct BuilderReport {
  std::string plan;     // path; empty if the report names none
  bool hit = false;     // it was in the cache
  std::string warning;  // about the cache
  std::string damage;   // why the cached plan was not taken
};

BuilderReport parse_report(const std::string& text) {
  const Json json = parse_json(text);
  const auto text_of = [](const Json& object, const char* name) {
    const auto value = object.find(name);
    return value != object.end() && value->is_string() ? value->get<std::string>() : "";
  };
  BuilderReport report;
  if (!json.is_object()) return report;
  report.plan = text_of(json, "plan");
  const auto is_true = [&](const char* name) {
    const auto value = json.find(name);
    return value != json.end() && value->is_boolean() && value->get<bool>();
  };
  report.hit = is_true("hit");
  if (is_true("damaged")) report.damage = text_of(json, "reason");
  report.warning = text_of(json, "warning");
  if (const auto tuning = json.find("tuning");
      report.warning.empty() && tuning != json.end() && tuning->is_object()) {
    report.warning = text_of(*tuning, "warning");
  }
  return report;
}

// Of what the builder handed over; else, of a builder that knows nothing of that, of the file that
// it names.
Result<engine::Plan> plan_from(BuilderOutput output, const BuilderReport& report) {
  if (!output.plan.empty()) {
    return engine::deserialize(
        std::make_shared<const std::vector<std::byte>>(std::move(output.plan)));
  }
  if (report.plan.empty()) return fail(ErrorCode::kUnavailable, "the builder names no plan");
  return engine::read_plan(report.plan);
}

}  // namespace

EngineServer::EngineServer(ServeRequest request, PlanRequest plan, ServerEvents events)
    : request_(std::move(request)),
      plan_(std::move(plan)),
      cache_(fovea::plan_cache(request_.engine,
                               [this](const auto& model, const auto& config,
                                      const auto& progress) -> Result<engine::Plan> {
                                 FOVEA_TRY(check_model());
                                 return engine::build_plan(model, config, progress);
                               })),
      events_(std::move(events)) {}

EngineServer::~EngineServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  swapped_.notify_all();
  if (builder_.joinable()) builder_.join();
}

Result<std::unique_ptr<EngineServer>> EngineServer::start(ServeRequest request,
                                                          ServerEvents events) {
  FOVEA_ASSIGN(PlanRequest plan, plan_request(request.engine, Spelling::kParameters));
  auto server = std::unique_ptr<EngineServer>(
      new EngineServer(std::move(request), std::move(plan), std::move(events)));
  FOVEA_TRY(server->load());
  malloc_trim(0);  // what it took to read and check the model; some 10 MB for YOLOv8n
  return server;
}

Result<> EngineServer::load() {
  cache_trouble_ = cache_.refusal();
  const EngineRequest& wanted = request_.engine;
  const bool beside = request_.mode == BuildMode::kBeside ||
                      (request_.mode == BuildMode::kAuto && takes_long(wanted, plan_));
  if (!beside && !wanted.quantizes()) return load_at_once();
  if (wanted.quantizes()) FOVEA_TRY(check_model());
  if (!beside) {  // what calibrates and measures lives in the builder
    FOVEA_ASSIGN(Serving serving, build_elsewhere(How::kWait));
    return serve_first_from_builder(std::move(serving));
  }
  if (!wanted.quantizes()) {
    FOVEA_ASSIGN(const CacheStatus status, cache_.status(plan_));
    if (status.cached) return load_at_once();
    if (status.damaged) cache_trouble_ = status.reason;
  } else if (auto serving = load_cached()) {
    return serve_first_from_builder(std::move(*serving));
  }
  warn_of_cache(cache_trouble_);
  const bool quick = request_.mode == BuildMode::kAuto && wanted.quantizes() &&
                     !calibrates(wanted) && wanted.verify.empty();
  return quick ? load_untuned_elsewhere() : load_untuned();
}

Result<> EngineServer::check_model() const {
  if (!events_.accept) return {};
  engine::BuilderConfig config = plan_.config;
  if (request_.engine.quantizes()) config.precision = engine::Precision::kFp32;
  FOVEA_ASSIGN(const engine::EngineInfo info, engine::preview_engine(plan_.model, config));
  return events_.accept(info);
}

Result<> EngineServer::load_at_once() {
  const auto progress = [this](std::string_view stage, double done) {
    events_.progress({.stage = stage, .done = done});
  };
  PlanRequest request = plan_;
  std::string tuning_warning;
  request.config.tuning.keep_going = events_.keep_going;
  request.config.tuning.report = [&](const engine::TuningReport& report) {
    tuning_warning = report.warning;
    for (const std::string& rejected : report.rejected) {
      events_.warning("tuning rejects " + rejected);
    }
  };
  FOVEA_ASSIGN(const CachedPlan cached, cache_.get_or_build(request, progress));
  if (cached.hit) {
    events_.information(
        fmt::format("plan {:.12} from the cache in {:.0f} ms", cached.key, cached.seconds * 1e3));
  } else {
    events_.information(fmt::format("plan {:.12} built in {:.1f} s: {}", cached.key, cached.seconds,
                                    cached.reason));
  }
  FOVEA_ASSIGN(Serving serving, make_ready(cached.plan, progress));
  serving.seconds = cached.seconds;
  serving.cached = cached.hit;
  serving.warning = !cached.warning.empty()   ? cached.warning
                    : !tuning_warning.empty() ? tuning_warning
                    : cached.damaged          ? cached.reason
                                              : "";
  return serve_first(std::move(serving));
}

// What is wrong with the cache is told once, however many builds meet it, and is part of the status
// of every engine that it concerns.
void EngineServer::warn_of_cache(const std::string& text) {
  if (!text.empty() && !std::exchange(cache_warned_, true)) events_.warning(text);
}

Result<> EngineServer::load_untuned() {
  const auto progress = [this](std::string_view stage, double done) {
    events_.progress({.stage = stage, .done = done});
  };
  const auto start = std::chrono::steady_clock::now();
  engine::BuilderConfig untuned = plan_.config;
  if (request_.engine.quantizes()) untuned.precision = engine::Precision::kFp32;
  untuned.tuning = {};
  FOVEA_ASSIGN(const engine::Plan plan, engine::build_plan(plan_.model, untuned, progress));
  FOVEA_ASSIGN(Serving serving, make_ready(plan, progress));
  serving.seconds = seconds_since(start);
  serving.warning = cache_trouble_;
  FOVEA_TRY(serve_first(std::move(serving)));
  tune_beside();
  return {};
}

// Of the wanted precision, which takes no longer than another one's.
Result<> EngineServer::load_untuned_elsewhere() {
  auto serving = build_elsewhere(How::kWaitUntuned);
  if (!serving && serving.error().code == ErrorCode::kExhausted) {
    events_.warning(serving.error().message);
    return load_untuned();  // what needs no other process
  }
  if (!serving) return fail(serving.error());
  FOVEA_TRY(serve_first_from_builder(std::move(*serving)));
  tune_beside();
  return {};
}

void EngineServer::tune_beside() {
  events_.information(fmt::format("an untuned {} engine serves until the {} one is ready",
                                  to_string(info_.precision), request_.engine.precision));
  try {
    builder_ = std::thread([this] { replace_when_built(); });
  } catch (const std::system_error& error) {  // what there is serves on
    warn_of_no_engine(fmt::format("cannot start a thread: {}", error.what()));
  }
}

void EngineServer::warn_of_no_engine(std::string_view reason) const {
  events_.warning(fmt::format("no {} engine, the untuned one serves on: {}",
                              request_.engine.precision, reason));
}

Result<> EngineServer::serve_first_from_builder(Serving serving) {
  events_.information(fmt::format("{} plan {} in {:.1f} s",
                                  to_string(serving.engine->info().precision),
                                  serving.cached ? "from the cache" : "built", serving.seconds));
  return serve_first(std::move(serving));
}

Result<> EngineServer::serve_first(Serving serving) {
  if (events_.accept) FOVEA_TRY(events_.accept(serving.engine->info()));
  serving_ = std::move(serving);
  info_ = serving_.engine->info();
  warn_of_cache(serving_.warning);
  if (!serving_.precision_warning.empty()) events_.warning(serving_.precision_warning);
  tell_serving();
  return {};
}

void EngineServer::tell_serving() const {
  const std::string warning = serving_.warning.empty() || serving_.precision_warning.empty()
                                  ? serving_.warning + serving_.precision_warning
                                  : serving_.precision_warning + "; " + serving_.warning;
  events_.serving({.info = serving_.engine->info(),
                   .cached = serving_.cached,
                   .seconds = serving_.seconds,
                   .warning = warning});
}

Result<EngineServer::Serving> EngineServer::make_ready(const engine::Plan& plan,
                                                       const engine::Progress& progress) const {
  Serving serving;
  FOVEA_ASSIGN(serving.engine, engine::load_engine(plan));
  if (const engine::Precision runs = serving.engine->info().precision; runs != plan.precision) {
    serving.precision_warning =
        fmt::format("this CPU (or FOVEA_ISA) has no {} arithmetic; the engine runs in {}",
                    to_string(plan.precision), to_string(runs));
  }
  FOVEA_ASSIGN(serving.context, serving.engine->create_execution_context());
  FOVEA_TRY(warm_up(serving, progress));
  return serving;
}

// Every batch size once, so that no frame pays for first-use costs.
Result<> EngineServer::warm_up(const Serving& serving, const engine::Progress& progress) const {
  const engine::EngineInfo& info = serving.engine->info();
  FOVEA_ASSIGN(const engine::Bindings bindings, serving.engine->make_bindings());
  std::fill(bindings.input().begin(), bindings.input().end(), std::byte{114});  // grey
  std::vector<engine::BatchItem> items;
  for (std::int32_t size = 1; size <= info.max_batch && !stopping_; ++size) {
    if (progress) {  // nothing serves yet
      if (!events_.keep_going()) break;
      progress(fmt::format("warm up batch {} of {}", size, info.max_batch), 1);
    }
    items.push_back(bindings.items()[0]);
    FOVEA_TRY(serving.context->execute(items));
  }
  return {};
}

// What calibrating and measuring would make, if the cache has it.
Result<EngineServer::Serving> EngineServer::load_cached() const {
  const auto start = std::chrono::steady_clock::now();
  EngineRequest wanted = request_.engine;
  wanted.no_cache = !cache_.is_used();
  const auto no_reader = [](const std::string& path) -> Result<Picture> {
    return fail(ErrorCode::kNotFound, path);
  };
  FOVEA_ASSIGN(const CachedPlan cached,
               build_or_load(wanted, no_reader, {}, Spelling::kParameters, CacheUse::kFindOnly));
  FOVEA_ASSIGN(Serving serving,
               make_ready(cached.plan, [this](std::string_view stage, double done) {
                 events_.progress({.stage = stage, .done = done});
               }));
  serving.seconds = seconds_since(start);
  serving.cached = true;
  serving.warning = cached.warning;
  return serving;
}

Result<EngineServer::Serving> EngineServer::build_elsewhere(How how) {
  const bool beside = how == How::kBeside;
  EngineRequest wanted = request_.engine;
  if (how == How::kWaitUntuned) wanted.tuning_level = 0;
  const auto start = std::chrono::steady_clock::now();
  const auto progress = [&](std::string_view stage, double done) {
    const double eta = done > 0 ? seconds_since(start) * (1 - done) / done : -1.0;
    events_.progress({stage, done, eta, beside});
  };
  FOVEA_ASSIGN(BuilderOutput output,
               run_builder(
                   build_command(std::move(wanted), plan_, cache_),
                   [&] { return !stopping_ && (beside || events_.keep_going()); }, progress));
  const BuilderReport built = parse_report(output.report);
  FOVEA_ASSIGN(const engine::Plan plan, plan_from(std::move(output), built));
  FOVEA_ASSIGN(Serving serving,
               make_ready(plan, beside ? engine::Progress() : engine::Progress(progress)));
  serving.seconds = seconds_since(start);
  serving.cached = built.hit;
  serving.warning = cache_.is_used() ? built.warning : cache_.refusal();
  if (serving.warning.empty() && !beside) serving.warning = built.damage;
  return serving;
}

void EngineServer::replace_when_built() {
  auto next = build_elsewhere(How::kBeside);
  if (stopping_) return;
  if (next && !same_bindings(next->engine->info(), info_)) {
    next = fail(ErrorCode::kInternal, "its inputs or outputs differ from those that are served");
  }
  if (!next) {
    return warn_of_no_engine(next.error().message);
  }
  warn_of_cache(next->warning);
  if (!next->precision_warning.empty()) events_.warning(next->precision_warning);
  Serving replaced;
  std::unique_lock lock(mutex_);
  next_ = std::move(*next);
  next_ready_ = true;
  // Taking an engine apart costs milliseconds, which no frame should pay for.
  swapped_.wait(lock, [this] { return stopping_ || !next_ready_; });
  replaced = std::move(next_);
  lock.unlock();
}

Result<> EngineServer::execute(std::span<const engine::BatchItem> batch) {
  if (next_ready_.load(std::memory_order_acquire)) {
    {
      const std::lock_guard lock(mutex_);
      std::swap(serving_, next_);
      next_ready_ = false;
    }
    swapped_.notify_one();
    tell_serving();
  }
  return serving_.context->execute(batch);
}

}  // namespace fovea
