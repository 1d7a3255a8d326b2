// `build`, `list` and `prune`: engines as things on disk.
#include <csignal>
#include <memory>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <sys/prctl.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/detector/tool/engine_cli.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

namespace {

Json to_json(const KeyInputs& inputs) {
  Json json = Json::object();
  for (const auto& [name, value] : inputs) json[name] = value;
  return json;
}

std::string dumped(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

// Null if nothing was tuned just now.
Json to_json(const std::optional<engine::TuningReport>& tuned) {
  if (!tuned) return nullptr;
  Json threads = Json::array();
  for (const engine::TimedThreads& time : tuned->threads) {
    threads.push_back({{"threads", time.threads}, {"ms", time.ms}});
  }
  return {
      {"layers", tuned->layers},   {"changed", tuned->changed},       {"known", tuned->known},
      {"cached", tuned->cached},   {"untuned_ms", tuned->untuned_ms}, {"tuned_ms", tuned->tuned_ms},
      {"seconds", tuned->seconds}, {"threads", threads}, {"rejected", tuned->rejected},     {"note", tuned->note},
      {"warning", tuned->warning}};
}

// Null without a guard's report.
Json accuracy_of(const engine::Plan& plan) {
  Json json = parse_json(plan.accuracy_report);
  return json.is_discarded() ? Json(nullptr) : json;
}

struct BuildCommand {
  ModelOptions model;
  std::string save_engine;
  std::string request;
  bool cached_only = false;
  int hand_over = -1;
  bool end_with_parent = false;
  JsonOption json;

  Result<int> to_file() const {
    FOVEA_TRY(check_writable(save_engine));
    // What quantises builds an fp32 engine and a table first, which the next such build finds there.
    const CacheUse otherwise = model.request.quantizes() ? CacheUse::kAll : CacheUse::kTimesOnly;
    FOVEA_ASSIGN(const CachedPlan built,
                 model.build(json, cached_only ? CacheUse::kFindOnly : otherwise));
    if (interrupted) return kExitInterrupted;
    const engine::Plan& plan = built.plan;
    warn_of_head(plan.network);
    FOVEA_TRY(warn_if_precision_is_lacking(plan));
    FOVEA_TRY(engine::save_plan(plan, save_engine));
    say(json, fmt::format("{}: {} layers, {} {}, up to {} pictures, {} threads", save_engine,
                          plan.network.layers.size(), plan.provider, to_string(plan.precision),
                          plan.max_batch, plan.threads));
    FOVEA_TRY(json.write(dumped({{"plan", save_engine},
                                 {"model_hash", plan.model_hash},
                                 {"layers", plan.network.layers.size()},
                                 {"precision", to_string(plan.precision)},
                                 {"tuning", to_json(*model.tuned)},
                                 {"accuracy", accuracy_of(plan)}})));
    return kExitOk;
  }

  Result<int> to_cache() const {
    FOVEA_ASSIGN(const CachedPlan cached,
                 model.build(json, cached_only ? CacheUse::kFindOnly : CacheUse::kAll));
    if (interrupted) return kExitInterrupted;
    warn_of_head(cached.plan.network);
    // What is found needs no second look if it is fp32; who is handed it loads it anyway.
    if (!cached.hit || (cached.plan.precision != engine::Precision::kFp32 && hand_over < 0)) {
      FOVEA_TRY(warn_if_precision_is_lacking(cached.plan));
    }
    const std::string where =
        (plan_cache(model.request).folder() / (cached.key + ".plan")).string();
    if (const Json accuracy = accuracy_of(cached.plan); cached.hit && accuracy.is_object()) {
      say(json, accuracy.value("verdict", ""));
    }
    if (hand_over >= 0) {
      FOVEA_TRY(
          write_file(fmt::format("/proc/self/fd/{}", hand_over), engine::serialize(cached.plan)));
    } else if (!cached.kept) {
      print_error("error: the engine is built but kept nowhere; --save-engine FILE keeps it");
    }
    if (cached.kept) {
      say(json, cached.hit ? fmt::format("{}: already built", where)
                           : fmt::format("{}: built in {:.2f} s ({})", where, cached.seconds,
                                         cached.reason));
    }
    FOVEA_TRY(json.write(dumped({{"plan", cached.kept ? Json(where) : Json(nullptr)},
                                 {"key", cached.key},
                                 {"hit", cached.hit},
                                 {"reason", cached.reason},
                                 {"damaged", cached.damaged},
                                 {"warning", cached.warning},
                                 {"seconds", cached.seconds},
                                 {"model_hash", cached.plan.model_hash},
                                 {"layers", cached.plan.network.layers.size()},
                                 {"precision", to_string(cached.plan.precision)},
                                 {"tuning", to_json(*model.tuned)},
                                 {"accuracy", accuracy_of(cached.plan)}})));
    return cached.kept || hand_over >= 0 ? kExitOk : kExitFailure;
  }

  // An engine whose precision this CPU lacks runs, but not as its user expects. Loads the engine,
  // which packs all weights.
  static Result<> warn_if_precision_is_lacking(const engine::Plan& plan) {
    FOVEA_ASSIGN(const auto engine, engine::load_engine(plan));
    warn_of_another_precision(plan.precision, engine->info().precision);
    return {};
  }

  // Options that would mean nothing are somebody's mistake.
  Result<> check_unused() const {
    if (model.request.quantizes()) return {};
    for (const auto& [given, name] : {std::pair(&model.request.calibration, "--calib"),
                                      {&model.request.calibration_table, "--calib-cache"},
                                      {&model.request.verify, "--verify"}}) {
      if (given->empty()) continue;
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} is for --precision int8 and best; --precision is {}", name,
                              model.request.precision));
    }
    return {};
  }

  Result<int> build() {
    if (!request.empty()) {
      FOVEA_TRY(model.check_none_given(
          "--request, whose JSON has all options of the engine: write it there"));
      FOVEA_ASSIGN(model.request, engine_request_from_json(request));
    } else {
      FOVEA_TRY(check_unused());  // a node keeps its `calibration` whatever its precision is
    }
    return save_engine.empty() ? to_cache() : to_file();
  }

  int run() {
    if (end_with_parent) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto code = build();
    if (!code && interrupted) {
      print_error("interrupted; what was not finished is not kept");
      return kExitInterrupted;
    }
    return code ? *code : report(code.error());
  }
};

struct ListCommand {
  std::string cache_dir;
  JsonOption json;

  int run() const {
    const PlanCache cache(cache_dir);
    if (!cache.is_used()) return report({ErrorCode::kInvalidArgument, cache.refusal()});
    Json list = Json::array();
    for (const CacheEntry& entry : cache.list()) {
      list.push_back({{"key", entry.key},
                      {"model", entry.model},
                      {"bytes", entry.bytes},
                      {"build_seconds", entry.build_seconds},
                      {"inputs", to_json(entry.inputs)}});
      const auto input = [&](const char* name) { return list.back()["inputs"].value(name, "?"); };
      say(json, fmt::format("{:.12}  {:>7.1f} MB  {} {} batch {} threads {}  {}", entry.key,
                            static_cast<double>(entry.bytes) / 1e6, input("provider"),
                            input("precision"), input("max_batch"), input("threads"), entry.model));
      if (input("profile") != "none") say(json, fmt::format("              {}", input("profile")));
    }
    if (list.empty()) say(json, fmt::format("no engines in {}", cache.folder().string()));
    const auto written =
        json.write(dumped({{"folder", cache.folder().string()}, {"engines", list}}));
    return written ? kExitOk : report(written.error());
  }
};

struct PruneCommand {
  std::string cache_dir;
  std::uint64_t max_bytes = std::uint64_t{2} << 30;
  bool dry_run = false;
  JsonOption json;

  Result<> prune() const {
    const PlanCache cache(cache_dir);
    FOVEA_ASSIGN(const PruneReport pruned, cache.prune(max_bytes, dry_run));
    const auto megabytes = [](std::uint64_t bytes) { return static_cast<double>(bytes) / 1e6; };
    Json removed = Json::array();
    for (const CacheEntry& entry : pruned.removed) {
      removed.push_back({{"key", entry.key}, {"model", entry.model}, {"bytes", entry.bytes}});
      say(json,
          fmt::format("{:.12}  {:>7.1f} MB  {}", entry.key, megabytes(entry.bytes), entry.model));
    }
    for (const std::string& key : pruned.busy)
      say(json, fmt::format("{:.12}  is being built, left alone", key));
    say(json, fmt::format("{}{} files, {:.1f} MB; {} engines, {:.1f} MB stay in {}",
                          dry_run ? "would remove " : "removed ", pruned.files,
                          megabytes(pruned.freed_bytes), pruned.kept, megabytes(pruned.kept_bytes),
                          cache.folder().string()));
    return json.write(dumped({{"folder", cache.folder().string()},
                              {"dry_run", dry_run},
                              {"removed", removed},
                              {"files", pruned.files},
                              {"freed_bytes", pruned.freed_bytes},
                              {"kept", pruned.kept},
                              {"kept_bytes", pruned.kept_bytes},
                              {"busy", pruned.busy}}));
  }
  int run() const {
    const auto done = prune();
    return done ? kExitOk : report(done.error());
  }
};

}  // namespace

Command add_build(CLI::App& app) {
  auto command = std::make_shared<BuildCommand>();
  command->model.declare_model(app, /*quantization=*/true);
  add_option(app, "--request", command->request,
             "All options of the engine as one JSON object, in place of those above");
  declare_output("--save-engine", command->save_engine);
  add_option(app, "--save-engine", command->save_engine,
             "Write the engine here instead of into the cache, which still has the timing cache");
  add_flag(app, "--cached-only", command->cached_only,
           "Fail instead of building what is not in the cache");
  add_option(app, "--hand-over", command->hand_over,
             "Also write the engine to this open descriptor, whether the cache keeps it or not")
      .range(3, 1 << 20);
  add_flag(app, "--end-with-parent", command->end_with_parent,
           "Die when the process that started this one does");
  command->json.declare(app);
  return [command] { return command->run(); };
}

Command add_prune(CLI::App& app) {
  auto command = std::make_shared<PruneCommand>();
  add_option(app, "--cache-dir", command->cache_dir, "Folder to prune");
  add_option(app, "--max-size", command->max_bytes,
             "What may stay, the most recently used first: 2GiB, 500MB, 0")
      .byte_size("2GiB");
  add_flag(app, "--dry-run", command->dry_run, "Say what would go; remove nothing");
  command->json.declare(app);
  return [command] { return command->run(); };
}

Command add_list(CLI::App& app) {
  auto command = std::make_shared<ListCommand>();
  add_option(app, "--cache-dir", command->cache_dir, "Folder to list");
  command->json.declare(app);
  return [command] { return command->run(); };
}

}  // namespace fovea::engine_cli
