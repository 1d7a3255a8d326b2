// Options, reports and progress that all subcommands share.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/progress.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/trusted_folder.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/thread_choice.hpp"
#include "nodes/detector/tool/engine_cli.hpp"

namespace fovea::engine_cli {

namespace {

// Of this process's one command.
std::vector<std::pair<std::string, const std::string*>> outputs;

// Between two steps nothing is half written, so the process may end there.
void end_if_interrupted() {
  if (!interrupted) return;
  print_error("\ninterrupted; what was not finished is not kept");
  std::_Exit(kExitInterrupted);
}

}  // namespace

void ModelOptions::declare(CLI::App& app, bool quantization) {
  for (const EngineOption& row : engine_options()) {
    if (row.is_quantization && !quantization) continue;
    std::string description = row.description;
    if (!row.choices.empty()) {
      description += fmt::format(": {}", fmt::join(row.choices, ", "));
    }
    const Option option = std::visit(
        [&](auto member) {
          if constexpr (std::is_same_v<decltype(member), bool EngineRequest::*>) {
            return add_flag(app, row.flag, request.*member, description);
          } else {
            return add_option(app, row.flag, request.*member, description).shows_default();
          }
        },
        row.member);
    declared_.emplace_back(row.flag.substr(0, row.flag.find(',')), option);
  }
}

void ModelOptions::declare_with_engine(CLI::App& app) {
  declare(app, /*quantization=*/false);
  add_option(app, "--load-engine", load_engine,
             "Engine file written by build --save-engine; options of building do not go with "
             "it, but --threads does where it runs");
}

void ModelOptions::declare_model(CLI::App& app, bool quantization) { declare(app, quantization); }

void ModelOptions::declare_shapes(CLI::App& app) {
  add_option(app, "--shapes", shapes,
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
    FOVEA_TRY(check_none_given(kBesideLoadedEngine, "--threads"));
    EngineRequest options = request;
    options.model = load_engine;
    FOVEA_TRY(validate(options, Spelling::kFlags));
    FOVEA_ASSIGN(source.plan, engine::read_plan(load_engine));
    const auto threads = static_cast<std::int32_t>(request.threads);
    if (threads != 0 && threads != source.plan.threads) {
      note(fmt::format("{} was made for {} threads; {} run it, with its tactics", load_engine,
                       source.plan.threads, threads));
      source.plan.threads = threads;
    }
  } else {
    if (request.model.empty()) {
      return fail(ErrorCode::kInvalidArgument, "--onnx or --load-engine is required");
    }
    if (request.quantizes()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--precision {0} needs calibration: `fovea engine build --onnx {1} "
                              "--precision {0} --calib FOLDER --save-engine FILE` first, then "
                              "--load-engine FILE",
                              request.precision, request.model));
    }
    FOVEA_ASSIGN(source.cached, build({}, CacheUse::kAll));
    source.plan = source.cached->plan;
  }
  source.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  warn_of_head(source.plan.network);
  return source;
}

Result<> ModelOptions::check_none_given(std::string_view other, std::string_view allowed) const {
  for (const auto& [name, option] : declared_) {
    if (!option.given() || name == allowed) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} means nothing beside {}", name, other));
  }
  return {};
}

Result<> ModelOptions::check_timing_cache() const {
  if (request.timing_cache.empty() || request.tuning_level == 0) return {};
  const auto checked = [this]() -> Result<> {
    // The folder is made when the file is written.
    FOVEA_TRY(make_folders(std::filesystem::path(request.timing_cache).parent_path()));
    return check_writable(request.timing_cache);
  }();
  if (!checked) return fail(checked.error().with_context("--timing-cache-file"));
  return {};
}

Result<CachedPlan> ModelOptions::build(const JsonOption& json, CacheUse use) const {
  FOVEA_TRY(check_timing_cache());
  const auto max_pixels = static_cast<std::uint64_t>(request.max_pixels);
  FOVEA_ASSIGN(
      CachedPlan built,
      build_or_load(
          request, [max_pixels](const std::string& path) { return read_picture(path, max_pixels); },
          {.progress = progress_printer(),
           .information = [&](std::string_view text) { say(json, std::string(text)); },
           .warning = [](std::string_view text) { note(std::string(text)); },
           .tuned =
               [keep = tuned](const engine::TuningReport& report) {
                 *keep = report;
                 print(report);
               },
           .keep_going = [] { return !interrupted; }},
          Spelling::kFlags, use));
  if (!built.warning.empty()) note("warning: " + built.warning);
  return built;
}

void JsonOption::declare(CLI::App& app) {
  declare_output("--json", target);
  add_option(app, "--json", target, "Report as JSON, into FILE or to stdout")
      .or_alone("-")
      .value_name("[FILE]");
}

Result<> JsonOption::write(const std::string& json) const {
  if (target.empty()) return {};
  const std::string text = json + "\n";
  return on_stdout() ? write_stdout(text) : write_file(target, text);
}

void say(const JsonOption& json, const std::string& line) {
  if (json.on_stdout()) return;
  clear_progress();
  print_out("{}\n", line);  // main() ends with code 1 if stdout did not take it
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

void warn_of_head(const engine::NetworkDefinition& network) {
  for (const std::string& warning : network.head.warnings) note("warning: " + warning);
  if (!network.head.known() && !network.head.note.empty() &&
      network.head.basis != engine::HeadBasis::kStated) {
    note("warning: no detector can serve this engine: " + network.head.note);
  }
}

void warn_of_another_precision(engine::Precision planned, engine::Precision runs) {
  static std::set<engine::Precision> told;
  if (runs == planned || !told.insert(planned).second) return;
  note(fmt::format(
      "warning: this CPU (or FOVEA_ISA) has no {} arithmetic; here the engine runs in {}",
      to_string(planned), to_string(runs)));
}

int report(const Error& error) {
  print_error("fovea engine: {}: {}", to_string(error.code), error.message);
  return error.code == ErrorCode::kInvalidArgument ? kExitUsage : kExitFailure;
}

void note(const std::string& text) {
  clear_progress();
  print_error("{}", text);
}

void print(const engine::TuningReport& report) {
  for (const std::string& rejected : report.rejected) note("warning: tuning rejects " + rejected);
  if (!report.warning.empty()) note("warning: " + report.warning);
  if (!report.note.empty()) note("tuning: " + report.note);
  if (report.threads.size() > 1) {
    std::string times;
    for (const engine::TimedThreads& time : report.threads) {
      times += fmt::format("{}{}: {:.2f} ms", times.empty() ? "" : ", ", time.threads, time.ms);
    }
    note(fmt::format("{} threads, the fewest that help ({})",
                     engine::fewest_that_help(report.threads), times));
  }
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

engine::Progress progress_printer() {
  return [bar = StageProgress()](std::string_view stage, double done) mutable {
    end_if_interrupted();
    bar.update(stage, done);
  };
}

}  // namespace fovea::engine_cli
