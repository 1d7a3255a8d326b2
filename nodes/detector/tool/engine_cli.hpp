// Parts that the subcommands of `fovea-engine` share. Internal to engine_cli*.cpp.
//
// Each subcommand declares its options (options.hpp) and runs afterwards. Reports for people go
// to stdout, or, with --json -, nothing but JSON does; progress and problems go to stderr.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/detector/cache/engine_build.hpp"
#include "nodes/detector/tool/options.hpp"
#include "nodes/imaging/size_limit.hpp"

namespace fovea::engine_cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

// Set by SIGINT and SIGTERM; loops end at their next turn.
extern std::atomic<bool> interrupted;

// Each declares a subcommand's options on `app`.
Command add_build(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_list(CLI::App& app);
Command add_prune(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_verify(CLI::App& app);

// --json [FILE]. `fields` is JSON text.
struct JsonOption {
  std::string target;  // empty = not asked for, "-" = stdout

  void declare(CLI::App& app);
  bool on_stdout() const { return target == "-"; }
  Result<> write(const std::string& json) const;
};

// --load-engine, --shapes and the options of engine_options(), those of quantisation only for `build`.
struct ModelOptions {
  EngineRequest request;
  std::string load_engine;
  std::string shapes;  // what to run of them
  // What the last build's tuning said; shared, as options are copied. Empty without one.
  std::shared_ptr<std::optional<engine::TuningReport>> tuned =
      std::make_shared<std::optional<engine::TuningReport>>();

  // For the commands that run an engine.
  void declare_with_engine(CLI::App& app);
  // For those that need a model.
  void declare_model(CLI::App& app, bool quantization);
  // For the commands that run the engine: --shapes.
  void declare_shapes(CLI::App& app);
  // What --shapes says to run of the plan; without it the plan's own size and greatest batch.
  // Errors: kInvalidArgument for what is no shape, another input or a batch beyond the plan's.
  struct Shape {
    engine::Dims size;  // [height, width, 3]; empty: the plan's own
    std::size_t batch = 1;
  };
  Result<Shape> shape(const engine::Plan& plan) const;
  // From --load-engine, or build_or_load()'s.
  struct Source {
    engine::Plan plan;
    std::optional<CachedPlan> cached;
    double seconds = 0;
  };
  Result<Source> plan() const;
  // What build_or_load() gives, its events printed.
  Result<CachedPlan> build(const JsonOption& json, CacheUse use) const;
  // Errors: kInvalidArgument with the first option of engine_options() that was given, but for
  // `allowed`: "--batch means nothing beside " and `other`, which names what takes its place and the
  // cure.
  Result<> check_none_given(std::string_view other, std::string_view allowed = {}) const;

 private:
  std::vector<std::pair<std::string, Option>> declared_;  // of engine_options()
  // Before anything long: that what tuning will have measured can be written where it was told to.
  Result<> check_timing_cache() const;
  void declare(CLI::App& app, bool quantization);
};

// In place of options of building, which mean nothing to an engine that is built.
inline constexpr std::string_view kBesideLoadedEngine =
    "--load-engine, whose engine is built already: leave it out, or build an engine with it "
    "(`fovea engine build`)";

// Prints to stdout unless JSON goes there.
void say(const JsonOption& json, const std::string& line);
// Options that name a file to be written: main() tries them before the command runs.
void declare_output(std::string name, const std::string& target);
Result<> check_outputs();
// On stderr: what the user should know of what the outputs were taken for.
void warn_of_head(const engine::NetworkDefinition& network);
// The same, where an engine does not run in the precision that its plan says. Once per precision.
void warn_of_another_precision(engine::Precision planned, engine::Precision runs);
// "fovea-engine: error: ..." and the exit code for it.
int report(const Error& error);

// A line on stderr, between those of a progress bar.
void note(const std::string& text);
// A line or a few of them.
void print(const engine::TuningReport& report);

// A line per stage on stderr, or a bar with the time left if stderr is a terminal.
// After SIGINT or SIGTERM its next call ends the process with kExitInterrupted.
engine::Progress progress_printer();
// A PictureReader's answer. Pictures of more than `max_pixels` are refused before they are decoded.
Result<Picture> read_picture(const std::string& path, std::uint64_t max_pixels);
// --max-pixels.
void declare_max_pixels(CLI::App& app, std::uint64_t& max_pixels);

}  // namespace fovea::engine_cli
