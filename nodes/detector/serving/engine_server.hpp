// The engine that a detector runs, from the first frame on: loaded from the cache; or built at
// once; or, if building the wanted one takes long because it is tuned or calibrated, an untuned
// one now (FP32 where the wanted one still has to be calibrated), and the wanted one when a builder
// process has put it into the cache, swapped in between two batches.
//
// Thread safety: execute() from one thread, info() from any; events are called from the thread that
// calls start(), from execute()'s and from one of the server's own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "nodes/detector/cache/engine_request.hpp"
#include "nodes/detector/engine/engine.hpp"

namespace fovea {

enum class BuildMode {
  kAuto,    // kBeside where building takes long (tuning, calibrating from pictures), else kWait
  kWait,    // no frame is served by anything but the wanted engine
  kBeside,  // an untuned engine serves until the wanted one is built
};

struct BuildProgress {
  std::string_view stage;
  double done = 0;      // 0..1
  double eta_s = -1;    // until it is done; negative = unknown
  bool beside = false;  // frames are served meanwhile
};

// What serves from now on, at first and after a swap.
struct ServedEngine {
  const engine::EngineInfo& info;
  bool cached = false;            // its plan came from the cache
  double seconds = 0;             // that loading or building it took
  // What is wrong as long as this engine serves: the cache, or a precision that the CPU lacks.
  std::string_view warning = {};
};

struct ServerEvents {
  std::function<void(const BuildProgress&)> progress;
  std::function<void(std::string_view)> information;
  std::function<void(std::string_view)> warning;
  std::function<void(const ServedEngine&)> serving;
  std::function<bool()> keep_going;  // called several times a second by start(); false ends it
  // Whether the caller can do with engines of this model; asked before anything is built elsewhere
  // or tuned, so that a refused model costs nobody a build. Its error is start()'s. Empty = yes.
  std::function<Result<>(const engine::EngineInfo&)> accept = {};
};

struct ServeRequest {
  EngineRequest engine;
  BuildMode mode = BuildMode::kAuto;
};

class EngineServer {
 public:
  // Returns when frames can be served, every batch size warmed up. All events but `accept` must be
  // set; none is called any more once start() has failed or the server is gone.
  // Errors: validate()'s, the model's and the engine's own, never the cache's; the builder's in mode kWait.
  static Result<std::unique_ptr<EngineServer>> start(ServeRequest request, ServerEvents events);
  // Kills a running builder.
  ~EngineServer();
  EngineServer(const EngineServer&) = delete;
  EngineServer& operator=(const EngineServer&) = delete;

  // Bindings, head and limits hold for every engine that it will ever run.
  const engine::EngineInfo& info() const { return info_; }

  // ExecutionContext::execute() of the best engine that is ready.
  Result<> execute(std::span<const engine::BatchItem> batch);

 private:
  struct Serving {
    std::shared_ptr<const engine::Engine> engine;
    std::unique_ptr<engine::ExecutionContext> context;  // destroyed before its engine
    double seconds = 0;                                 // that loading or building took
    bool cached = false;                                // the plan came from the cache
    std::string warning;                                // about the cache; empty = all is well
    std::string precision_warning;  // the CPU has no arithmetic of the plan's; likewise
  };

  EngineServer(ServeRequest request, PlanRequest plan, ServerEvents events);
  Result<> load();
  Result<> check_model() const;
  Result<> load_at_once();
  Result<> load_untuned();
  Result<> load_untuned_elsewhere();
  void tune_beside();
  void warn_of_no_engine(std::string_view reason) const;
  void warn_of_cache(const std::string& text);
  Result<Serving> make_ready(const engine::Plan& plan, const engine::Progress& progress) const;
  Result<> warm_up(const Serving& serving, const engine::Progress& progress) const;
  void tell_serving() const;
  Result<> serve_first(Serving serving);
  Result<> serve_first_from_builder(Serving serving);
  Result<Serving> load_cached() const;
  enum class How { kWait, kWaitUntuned, kBeside };
  Result<Serving> build_elsewhere(How how);
  void replace_when_built();

  const ServeRequest request_;
  const PlanRequest plan_;  // without what pictures add to it
  const PlanCache cache_;
  const ServerEvents events_;
  engine::EngineInfo info_;
  Serving serving_;  // execute()'s thread's

  std::mutex mutex_;
  Serving next_;  // guarded by mutex_; the builder's thread makes it and takes the old one back
  std::atomic<bool> next_ready_ = false;
  std::atomic<bool> stopping_ = false;
  std::condition_variable swapped_;  // next_ is the engine that was replaced
  std::string cache_trouble_;        // that was there at the start
  bool cache_warned_ = false;        // start()'s thread's, then the builder's
  std::thread builder_;
};

}  // namespace fovea
