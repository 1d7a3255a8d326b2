// Options, reports and progress that all subcommands share.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "nodes/base/cores.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/trusted_folder.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine_cli.hpp"

namespace fovea::engine_cli {

namespace {

// Of this process's one command.
std::vector<std::pair<std::string, const std::string*>> outputs;
Result<> stdout_result;

// What is printed next takes the place of a progress bar, which is drawn again below.
void clear_bar() {
  if (::isatty(STDERR_FILENO) != 0) print_text(STDERR_FILENO, "\r\x1b[K");
}

// Between two steps nothing is half written, so the process may end there.
void end_if_interrupted() {
  if (!interrupted) return;
  print_error("\ninterrupted; what was not finished is not kept");
  std::_Exit(kExitInterrupted);
}

}  // namespace

void ModelOptions::declare(CLI::App& app, bool accept_engine) {
  config.threads = 0;
  auto* model = app.add_option("--onnx,--model", onnx, "ONNX file");
  if (accept_engine) {
    app.add_option("--load-engine", load_engine, "Engine file written by build --save-engine")
        ->excludes(model);
  } else {
    model->required();
  }
  app.add_option("--provider", config.provider,
                 fmt::format("What runs the network: {}", fmt::join(engine::provider_names(), ", ")))
      ->capture_default_str();
  app.add_option("--precision", config.precision, "Arithmetic: fp32, fp16, int8 or best")
      ->capture_default_str();
  app.add_option("--batch", config.max_batch, "Most pictures in one inference")
      ->capture_default_str();
  app.add_option("--threads", config.threads,
                 "Threads of the CPU provider; 0 = one per core that this process may use")
      ->capture_default_str();
  app.add_option("--input-size", input_size, "WIDTHxHEIGHT or SIDE, for models that leave it open");
  app.add_option("--min-shapes", min_shapes,
                 "Least input of a model that leaves its size open, e.g. images:1x3x320x320; one "
                 "engine then runs every size up to --max-shapes");
  app.add_option("--opt-shapes", opt_shapes, "Input to calibrate and tune for, and the default");
  app.add_option("--max-shapes", max_shapes, "Greatest input; its batch replaces --batch");
  app.add_flag("--keep-output0", config.keep_output0,
               "Keep the model's own output; do not cut its head off");
  app.add_option("--head", config.head,
                 "What the outputs are: auto finds out; yolov8 ([1, 4 + classes, anchors]), yolov5 "
                 "([1, anchors, 5 + classes]), none (raw tensors that no detector decodes)")
      ->capture_default_str();
  app.add_option("--cache-dir", cache_dir,
                 "Where built engines are kept; default $FOVEA_CACHE_DIR or ~/.cache/fovea");
  app.add_flag("--no-cache", no_cache, "Neither look for built engines nor keep any");
  config.tuning.level = engine::kDefaultTuningLevel;
  app.add_option(
         "--builder-optimization-level", config.tuning.level,
         "How a build tunes: 0 not at all, 1 each layer alone, 2 also inside the network, 3 "
         "with every kernel there is")
      ->capture_default_str()
      ->check(CLI::Range(0, engine::kMaxTuningLevel));
  app.add_option("--tuning-limit", config.tuning.max_seconds, "Most seconds that tuning takes")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--timing-cache-file", timing_cache,
                 "What tuning measured, read and added to; default in the cache folder");
}

Result<> ModelOptions::check_timing_cache() const {
  if (timing_cache.empty() || config.tuning.level == 0) return {};
  const auto checked = [this]() -> Result<> {
    // The folder is made when the file is written.
    FOVEA_TRY(make_folders(std::filesystem::path(timing_cache).parent_path()));
    return check_writable(timing_cache);
  }();
  if (!checked) return fail(checked.error().with_context("--timing-cache-file"));
  return {};
}

Result<PlanRequest> ModelOptions::request() const {
  if (onnx.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                load_engine.empty() ? "--onnx or --load-engine is required" : "--onnx is required");
  }
  PlanRequest request;
  request.model = onnx;
  request.config = config;
  if (request.config.threads == 0) request.config.threads = usable_cores();
  request.config.tuning.cache =
      timing_cache.empty() ? cache().timing_cache() : std::filesystem::path(timing_cache);
  request.config.tuning.keep_going = [] { return !interrupted; };
  request.config.tuning.report = [keep = tuned](const engine::TuningReport& report) {
    *keep = report;
    print(report);
  };
  if (!input_size.empty()) {
    FOVEA_ASSIGN(const engine::InputSize size,
                 engine::parse_input_size("--input-size", input_size));
    request.config.input_width = size.width;
    request.config.input_height = size.height;
  }
  if (!min_shapes.empty() || !opt_shapes.empty() || !max_shapes.empty()) {
    FOVEA_ASSIGN(request.config.profile, engine::parse_profile(min_shapes, opt_shapes, max_shapes));
    const std::int64_t batch = request.config.profile.max[0];
    if (config.max_batch != 1 && config.max_batch != batch) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("--batch is {} but the batch of --max-shapes {}", config.max_batch, batch));
    }
    request.config.max_batch = static_cast<std::int32_t>(std::min<std::int64_t>(batch, INT32_MAX));
  }
  return request;
}

PlanCache ModelOptions::cache(PlanCache::Builder builder) const {
  if (no_cache) return PlanCache::none(std::move(builder));
  return PlanCache(cache_dir, std::move(builder));
}

void ModelOptions::declare_shapes(CLI::App& app) {
  app.add_option("--shapes", shapes,
                 "Input to run, within the engine's shapes; default the optimal size and the "
                 "greatest batch");
}

Result<ModelOptions::Shape> ModelOptions::shape(const engine::Plan& plan) const {
  if (shapes.empty()) return Shape{{}, static_cast<std::size_t>(plan.max_batch)};
  FOVEA_ASSIGN(const engine::ShapeText wanted, engine::parse_shape("--shapes", shapes));
  const auto refused = [&](const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("--shapes is '{}'; {}", shapes, what));
  };
  const std::string& input = plan.network.value(plan.network.inputs[0]).name;
  if (!wanted.input.empty() && wanted.input != input) {
    return refused(fmt::format("the model's input is '{}'", input));
  }
  if (wanted.dims[0] < 1 || wanted.dims[0] > plan.max_batch) {
    return refused(fmt::format("the engine takes batches of 1..{}", plan.max_batch));
  }
  if (wanted.dims[1] != 3) return refused("it must have 3 channels");
  return Shape{{wanted.dims[2], wanted.dims[3], 3}, static_cast<std::size_t>(wanted.dims[0])};
}

Result<ModelOptions::Source> ModelOptions::plan() const {
  Source source;
  const auto start = std::chrono::steady_clock::now();
  if (!load_engine.empty()) {
    FOVEA_ASSIGN(source.plan, engine::read_plan(load_engine));
  } else {
    FOVEA_ASSIGN(const PlanRequest wanted, request());
    FOVEA_TRY(check_timing_cache());
    if (config.precision == "int8" || config.precision == "best") {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--precision {0} needs calibration: `fovea engine build --onnx {1} "
                              "--precision {0} --calib FOLDER --save-engine FILE` first, then "
                              "--load-engine FILE",
                              config.precision, onnx));
    }
    FOVEA_ASSIGN(source.cached, cache().get_or_build(wanted, progress_printer()));
    source.plan = source.cached->plan;
    if (!source.cached->warning.empty())
      print_error("warning: {}", source.cached->warning);
  }
  source.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  warn_of_head(source.plan.network);
  return source;
}

void JsonOption::declare(CLI::App& app) {
  declare_output("--json", target);
  app.add_option("--json", target, "Report as JSON, into FILE or to stdout")
      ->expected(0, 1)
      ->default_str("-")
      ->type_name("[FILE]");
}

Result<> JsonOption::write(const std::string& json) const {
  if (target.empty()) return {};
  const std::string text = json + "\n";
  return on_stdout() ? write_stdout(text) : write_file(target, text);
}

void say(const JsonOption& json, const std::string& line) {
  if (json.on_stdout()) return;
  clear_bar();
  if (auto printed = print_out("{}\n", line); !printed && stdout_result) stdout_result = printed;
}

void declare_output(std::string name, const std::string& target) {
  outputs.emplace_back(std::move(name), &target);
}

Result<> check_outputs() {
  for (const auto& [name, target] : outputs) {
    if (target->empty() || *target == "-") continue;
    if (auto writable = check_writable(*target); !writable) {
      return fail(writable.error().with_context(name));
    }
  }
  return {};
}

Result<> stdout_state() { return stdout_result; }

void warn_of_head(const engine::NetworkDefinition& network) {
  for (const std::string& warning : network.head.warnings) note("warning: " + warning);
  if (network.head.kind == engine::HeadKind::kUnknown && !network.head.note.empty() &&
      network.head.basis != engine::HeadBasis::kStated) {
    note("warning: no detector can serve this engine: " + network.head.note);
  }
}

int report(const Error& error) {
  print_error("fovea engine: {}: {}", to_string(error.code), error.message);
  return error.code == ErrorCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

void note(const std::string& text) {
  clear_bar();
  print_error("{}", text);
}

void print(const engine::TuningReport& report) {
  for (const std::string& rejected : report.rejected) note("warning: tuning rejects " + rejected);
  if (!report.warning.empty()) note("warning: " + report.warning);
  if (!report.note.empty()) note("tuning: " + report.note);
  if (report.layers == 0) return;
  std::string text = fmt::format("tuned in {:.2f} s: {} of {} layers leave their first guess",
                                 report.seconds, report.changed, report.layers);
  if (report.untuned_ms > 0) {
    text += fmt::format(", {:.2f} -> {:.2f} ms", report.untuned_ms, report.tuned_ms);
  }
  if (report.known > 0) {
    text += report.cached ? std::string(" (as the timing cache says)")
                          : fmt::format(" ({} in the timing cache)", report.known);
  }
  note(text);
}

engine::Progress part_of(const engine::Progress& whole, double from, double to) {
  return [&whole, from, to](std::string_view stage, double done) {
    if (whole) whole(stage, from + (to - from) * done);
  };
}

engine::Progress progress_printer() {
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  return [terminal, last_stage = std::string(), last_tenth = -1,
          start = std::chrono::steady_clock::now()](std::string_view stage, double done) mutable {
    end_if_interrupted();
    if (!terminal) {
      // A line per stage and tenth of it.
      const int tenth = static_cast<int>(10 * done);
      if (stage == last_stage && tenth == last_tenth) return;
      last_stage = stage;
      last_tenth = tenth;
      print_error("{:3.0f} % {}", 100 * done, stage);
      return;
    }
    constexpr int kWidth = 30;
    const int filled = static_cast<int>(done * kWidth);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    const std::string eta = done > 0 && done < 1 && spent.count() > 1
                                ? fmt::format("{:.0f} s left", spent.count() * (1 - done) / done)
                                : "";
    print_text(STDERR_FILENO,
               fmt::format("\r[{:#<{}}{:.<{}}] {:3.0f} % {:<16} {:<12}\x1b[K{}", "", filled, "",
                           kWidth - filled, 100 * done, stage, eta, done >= 1 ? "\n" : ""));
  };
}

Bar::Bar(std::string label, std::size_t total)
    : label_(std::move(label)), total_(total), terminal_(::isatty(STDERR_FILENO) != 0) {}

void Bar::update(std::size_t done) {
  const std::size_t tenth = total_ == 0 ? 10 : 10 * done / total_;
  if (terminal_) {
    print_text(STDERR_FILENO, fmt::format("\r{} {}/{} ", label_, done, total_));
  } else if (tenth != last_tenth_) {
    print_error("{} {}/{}", label_, done, total_);
  }
  last_tenth_ = tenth;
}

Bar::~Bar() {
  if (terminal_) print_text(STDERR_FILENO, "\n");
}

}  // namespace fovea::engine_cli
