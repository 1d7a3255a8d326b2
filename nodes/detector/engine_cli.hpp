// Parts that the subcommands of `fovea-engine` share. Internal to engine_cli*.cpp.
//
// Each subcommand declares its options on its CLI11 app and runs afterwards. Reports for people go
// to stdout, or, with --json -, nothing but JSON does; progress and problems go to stderr.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/detection_pipeline.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/plan_cache.hpp"
#include "nodes/imaging/size_limit.hpp"

namespace CLI {
class App;
}

namespace fovea::engine_cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

// Set by SIGINT and SIGTERM; loops end at their next turn.
extern std::atomic<bool> interrupted;

// Declares a subcommand on `app`; the function it returns runs it and gives the exit code.
using Command = std::function<int()>;
Command add_build(CLI::App& app);
Command add_inspect(CLI::App& app);
Command add_list(CLI::App& app);
Command add_prune(CLI::App& app);
Command add_bench(CLI::App& app);
Command add_verify(CLI::App& app);

// --onnx, --load-engine, --provider, --precision, --batch, --threads, --input-size, --keep-output0,
// --builder-optimization-level, --tuning-limit, --timing-cache-file, --cache-dir, --no-cache.
struct ModelOptions {
  std::string onnx;
  std::string load_engine;
  engine::BuilderConfig config;
  std::string input_size;  // "640" or "640x480", width first
  std::string min_shapes;  // "images:1x3x320x320"
  std::string opt_shapes;
  std::string max_shapes;
  std::string shapes;  // what to run of them
  std::string cache_dir;
  bool no_cache = false;
  std::string timing_cache;
  // What the last build's tuning said; shared, as requests are copies. Empty without one.
  std::shared_ptr<std::optional<engine::TuningReport>> tuned =
      std::make_shared<std::optional<engine::TuningReport>>();

  void declare(CLI::App& app, bool accept_engine);
  // What a plan comes from, after checks on the options. Errors: kInvalidArgument.
  Result<PlanRequest> request() const;
  // Before anything long: that what tuning will have measured can be written where it was told to.
  Result<> check_timing_cache() const;
  PlanCache cache(PlanCache::Builder builder = engine::build_plan) const;
  // For the commands that run the engine: --shapes.
  void declare_shapes(CLI::App& app);
  // What --shapes says to run of the plan; without it the plan's own size and greatest batch.
  // Errors: kInvalidArgument for what is no shape, another input or a batch beyond the plan's.
  struct Shape {
    engine::Dims size;  // [height, width, 3]; empty: the plan's own
    std::size_t batch = 1;
  };
  Result<Shape> shape(const engine::Plan& plan) const;
  // From --load-engine, or through the cache.
  struct Source {
    engine::Plan plan;
    std::optional<CachedPlan> cached;
    double seconds = 0;
  };
  Result<Source> plan() const;
};

// --json [FILE]. `fields` is JSON text.
struct JsonOption {
  std::string target;  // empty = not asked for, "-" = stdout

  void declare(CLI::App& app);
  bool on_stdout() const { return target == "-"; }
  Result<> write(const std::string& json) const;
};

// --calib, --calib-cache, --calibrator, --verify, --max-map-loss, --min-agreement.
struct QuantizeOptions {
  std::string calibration_folder;
  std::string calibration_cache;
  std::string calibrator = "percentile";
  std::string verify;
  double max_map_loss = 0.5;
  double min_agreement = 93;
  std::uint64_t max_pixels = imaging::kDefaultMaxPixels;
  bool cached_only = false;  // an error instead of calibrating or building

  void declare(CLI::App& app);
  // The plan for --precision int8 or best, through the cache. Errors: those of build_quantized()
  // and calibrate_from().
  Result<ModelOptions::Source> plan(const ModelOptions& model, const JsonOption& json) const;
  // For the other precisions: kInvalidArgument for an option that would mean nothing.
  Result<> check_unused(const std::string& precision) const;
  // With cached_only, kNotFound for what would be built, and why.
  Result<> check_cached(const PlanCache& cache, const PlanRequest& request) const;

 private:
  Result<engine::CalibrationTable> calibrated(const engine::Plan& fp32, const std::string& key,
                                              const PlanCache& cache,
                                              const engine::Progress& progress,
                                              const JsonOption& json) const;
  static void warn_of_entropy(const engine::CalibrationTable& table);
};

// Prints to stdout unless JSON goes there.
void say(const JsonOption& json, const std::string& line);
// Options that name a file to be written: main() tries them before the command runs.
void declare_output(std::string name, const std::string& target);
Result<> check_outputs();
// The first line that stdout did not take; main() ends with code 1 then.
Result<> stdout_state();
// On stderr: what the user should know of what the outputs were taken for.
void warn_of_head(const engine::NetworkDefinition& network);
// "fovea-engine: error: ..." and the exit code for it.
int report(const Error& error);

// A line on stderr, between those of a progress bar.
void note(const std::string& text);
// A line or a few of them.
void print(const engine::TuningReport& report);

// A line per stage on stderr, or a bar with the time left if stderr is a terminal.
// After SIGINT or SIGTERM its next call ends the process with kExitInterrupted.
engine::Progress progress_printer();
// What a step of a longer work reports to, 0..1, as the part [from, to] of the whole, which must
// outlive it.
engine::Progress part_of(const engine::Progress& whole, double from, double to);
// The same for a loop of known length: call with 0..total.
class Bar {
 public:
  explicit Bar(std::string label, std::size_t total);
  void update(std::size_t done);
  ~Bar();

 private:
  std::string label_;
  std::size_t total_;
  bool terminal_;
  std::size_t last_tenth_ = 0;
};

// A PictureReader's answer. Pictures of more than `max_pixels` are refused before they are decoded.
Result<Picture> read_picture(const std::string& path, std::uint64_t max_pixels);
// --max-pixels.
void declare_max_pixels(CLI::App& app, std::uint64_t& max_pixels);

}  // namespace fovea::engine_cli
