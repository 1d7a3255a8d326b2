// `fovea-bench`, which `fovea bench ...` becomes: measures the real pipeline on recorded video.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <unistd.h>

#include "launch/bench/compare.hpp"
#include "launch/bench/replay_command.hpp"
#include "launch/bench/rivals.hpp"
#include "launch/bench/self_check.hpp"
#include "launch/bench/sweep.hpp"
#include "launch/install_paths.hpp"
#include "launch/looking/report.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

struct ReplayOptions {
  CommonOptions common;
  bool peak = false;
  bool rivals = false;
  std::vector<std::string> chaos;
  std::string against;       // folder of programs
  std::string against_json;  // file to write
};

// Runs in turns with other programs and prints what changed since those. `report` becomes ours.
// True when something got worse.
Result<bool> replay_against(const ReplayOptions& options, Report& report) {
  BenchConfig other = options.common.config;
  if (other.runs < pairs_needed())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--runs is {}; --against takes {} or more to tell a change from chance",
                            other.runs, pairs_needed()));
  other.programs = options.against;
  FOVEA_TRY(complete(other, launch::share_directory()));
  FOVEA_ASSIGN(const auto runs, run_in_turns(options.common.config, other));
  report.turns = fmt::format("{} {}", report.started, getpid());
  Report before = report;
  before.config = other;
  evaluate(before, runs.second);
  evaluate(report, runs.first);
  if (!options.against_json.empty()) FOVEA_TRY(write_file(options.against_json, to_json(before)));
  FOVEA_ASSIGN(const ComparisonReport result, compare(before, report, {}));
  // stdout may be JSON.
  print_line(options.common.json == "-" ? STDERR_FILENO : STDOUT_FILENO,
             fmt::format("since {}:\n{}", other.programs.string(), to_table(result)));
  return result.any_worse();
}

// True when --against found that something got worse.
Result<bool> replay(ReplayOptions& options) {
  FOVEA_TRY(resolve(options.common));
  std::vector<FaultKind> faults;
  for (const std::string& name : options.chaos) {
    FOVEA_ASSIGN(faults.emplace_back(), fault_from_name(name));
  }
  if (!faults.empty() && options.common.config.rate == kMaxRate)
    return fail(ErrorCode::kInvalidArgument,
                "--chaos needs a --rate in Hz: what was lost is counted against it");
  FOVEA_TRY(check_harmless(faults));
  FOVEA_ASSIGN(Report report, begin_report(options.common));
  bool worse = false;
  if (options.against.empty()) {
    FOVEA_ASSIGN(const auto runs, run_all(options.common.config));
    evaluate(report, runs);
  } else {
    FOVEA_ASSIGN(worse, replay_against(options, report));
  }
  if (options.peak || options.rivals) {
    report.peak.emplace();
    const double estimate = estimate_peak(report);
    for (std::uint32_t i = 0; i < options.common.config.runs; ++i) {
      FOVEA_TRY(add_peak(options.common.config, estimate, *report.peak));
      if (options.rivals)
        measure_rivals(options.common.config, report.peak->total_fps.back(), report.rivals);
    }
  }
  if (!faults.empty()) {
    FOVEA_ASSIGN(report.faults, run_chaos(options.common.config, faults));
  }
  FOVEA_TRY(deliver(report, options.common));
  return worse;
}

struct CompareFiles {
  std::string before, after;
  double effect_percent = 3;
  CompareOptions options;
  bool json = false;
};

Result<Report> read_report(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(ErrorCode::kNotFound, fmt::format("{}: no such file", path));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return report_from_json(text, path);
}

// True when something got worse.
Result<bool> compare_files(CompareFiles& files) {
  FOVEA_ASSIGN(const Report before, read_report(files.before));
  FOVEA_ASSIGN(const Report after, read_report(files.after));
  files.options.min_effect = files.effect_percent / 100;
  FOVEA_ASSIGN(const ComparisonReport result, compare(before, after, files.options));
  print_out("{}", files.json ? to_json(result) : to_table(result));
  return result.any_worse();
}

void add_common_options(CLI::App& app, CommonOptions& options) {
  BenchConfig& config = options.config;
  app.add_option("--video", config.video,
                 "What every camera plays, each from another point of it: a file, or file://, "
                 "images://, synthetic://")
      ->required();
  app.add_option("--cameras", config.cameras, "Cameras, 1..16")->capture_default_str();
  app.add_option("--rate", options.rate,
                 "Frames a second of each camera, whether or not the pipeline keeps up; or `max`")
      ->capture_default_str();
  app.add_option("--phase", options.phase,
                 "When the cameras' frames are due: `spread` evenly over the period, or `aligned`, "
                 "all at once")
      ->check(CLI::IsMember({"spread", "aligned"}))
      ->capture_default_str();
  app.add_option("--model", config.model, "ONNX file, or the name of a shipped one");
  app.add_option("--precision", config.precision, "fp32, fp16, int8, bf16 or best")
      ->capture_default_str();
  app.add_option("--calibration", config.calibration,
                 "For int8 and best: pictures or a table; the one beside the model if absent");
  app.add_option("--batch", config.max_batch,
                 "Most frames in one inference; 0 = what suits the provider");
  app.add_option("--duration", config.duration_s, "Measured seconds of each run")
      ->capture_default_str();
  app.add_option("--warmup", config.warmup_s, "Seconds before that")->capture_default_str();
  app.add_option("--runs", config.runs, "Runs, each with new processes; intervals come from these")
      ->capture_default_str();
  app.add_option("--parameter", options.parameters,
                 "A node's parameter, node.name=value; `camera` means every camera");
  app.add_option("--programs", config.programs,
                 "Folder whose programs (fovea, fovea-detector, ...) run instead of this "
                 "installation's; those that are not in it stay");
  app.add_option("--json", options.json, "Write the report here; - = stdout");
  app.add_option("--html", options.html, "Write the report as one page here");
}

CLI::App* add_compare(CLI::App& app, CompareFiles& files) {
  CLI::App* command = app.add_subcommand(
      "compare", "Whether a second report is worse than a first one; exit code 1 if it is");
  command->add_option("before", files.before, "Report that `replay --json` wrote")->required();
  command->add_option("after", files.after, "The one to judge")->required();
  command
      ->add_option("--min-effect", files.effect_percent, "Smallest change that matters, in percent")
      ->check(CLI::Range(0.1, 1000.0))
      ->capture_default_str();
  command
      ->add_option("--alpha", files.options.alpha,
                   "Chance of one false alarm in the whole comparison")
      ->check(CLI::Range(1e-6, 0.5))
      ->capture_default_str();
  command->add_flag("--all", files.options.all_figures,
                    "Judge every figure; takes more runs to be as sure");
  command->add_flag("--json", files.json, "As JSON");
  return command;
}

CLI::App* add_sweep(CLI::App& app, SweepOptions& options) {
  CLI::App* command = app.add_subcommand(
      "sweep", "Every combination of settings: speed, latency, cost, and accuracy with --data");
  add_common_options(*command, options.common);
  for (const char* name : {"--cameras", "--precision", "--model", "--batch"})
    command->remove_option(command->get_option(name));
  command->add_option("--cameras", options.cameras, "Numbers of cameras")->delimiter(',');
  command->add_option("--precision", options.precisions, "fp32, fp16, int8, bf16, best")
      ->delimiter(',');
  command->add_option("--model", options.models, "ONNX files or names of shipped ones")
      ->delimiter(',');
  command->add_option("--batch", options.batches, "Most frames in one inference")->delimiter(',');
  command->add_flag("--peak", options.peak,
                    "Also search each setting's highest rate at which less than 5 % is lost, which "
                    "the front of speed and accuracy needs unless --rate is max");
  command->add_option("--data", options.data, "Labelled pictures: mAP beside the speed");
  return command;
}

std::string joined(int argc, char** argv) {
  std::string text = "fovea bench";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    text += word.find_first_of(" ?&$'\"") == std::string::npos ? " " + word : " '" + word + "'";
  }
  return text;
}

int run(int argc, char** argv) {
  CLI::App app("Measure the pipeline on recorded video", "fovea bench");
  app.require_subcommand(1);
  app.set_version_flag("--version", "fovea " FOVEA_VERSION);

  ReplayOptions replay_options;
  CLI::App* replay_command = app.add_subcommand(
      "replay",
      "Latency, rate, losses and cost of the real pipeline under a load of recorded video");
  add_common_options(*replay_command, replay_options.common);
  replay_command->add_flag(
      "--peak", replay_options.peak,
      "Also search the highest rate at which less than 5 % is lost, --runs times");
  replay_command->add_flag(
      "--rivals", replay_options.rivals,
      "Also measure what a user would otherwise write, --runs times, each right "
      "after a search for our peak");
  replay_command
      ->add_option(
          "--chaos", replay_options.chaos,
          "Also one run with faults in it: kill, stall, unplug, cache, shm; time to recover and "
          "frames lost")
      ->delimiter(',');
  replay_command->add_option(
      "--against", replay_options.against,
      "Folder with other programs (fovea, fovea-detector, ...) to run in turns with these, run by "
      "run, and to compare with; exit code 1 if these are worse. Takes --runs 8 or more");
  replay_command->add_option("--against-json", replay_options.against_json,
                             "Write the report of those here");
  SweepOptions sweep;
  CLI::App* sweep_command = add_sweep(app, sweep);
  CheckOptions check;
  CLI::App* check_command = app.add_subcommand(
      "check",
      "Whether --against tells the truth on this machine: no change where there is none, and a "
      "planted slowdown found; exit code 1 if not");
  add_common_options(*check_command, check.common);
  for (const char* name : {"--json", "--html"})
    check_command->remove_option(check_command->get_option(name));
  check_command
      ->add_option("--reruns", check.reruns, "Comparisons of the same programs with themselves")
      ->capture_default_str();
  check_command->add_option("--planted", check.planted,
                            "Folder with slowed programs; bin/planted of the build if absent");
  CompareFiles files;
  CLI::App* compare_command = add_compare(app, files);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (compare_command->parsed()) {
    const Result<bool> worse = compare_files(files);
    if (!worse) return refuse(worse.error());
    return *worse ? kExitFailed : kExitOk;
  }
  Executor::block_signals();
  replay_options.common.command = sweep.common.command = joined(argc, argv);
  if (check_command->parsed()) {
    check.common.command = joined(argc, argv);
    const Result<bool> good = run_check(check);
    if (!good) return refuse(good.error());
    return *good ? kExitOk : kExitFailed;
  }
  if (sweep_command->parsed()) {
    const Result<> done = run_sweep(sweep);
    return done ? kExitOk : refuse(done.error());
  }
  const Result<bool> worse = replay(replay_options);
  if (!worse) return refuse(worse.error());
  return *worse ? kExitFailed : kExitOk;
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  fovea::prepare_process();
  return fovea::bench::run(argc, argv);
}
