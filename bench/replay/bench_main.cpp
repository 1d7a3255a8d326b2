// `fovea-bench`, which `fovea bench ...` becomes: measures the real pipeline on recorded video.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "bench/replay/compare.hpp"
#include "bench/replay/replay_command.hpp"
#include "bench/replay/rivals.hpp"
#include "bench/replay/sweep.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

constexpr double kPeakLoss = 0.05;

struct ReplayOptions {
  CommonOptions common;
  bool peak = false;
  bool rivals = false;
  std::vector<std::string> chaos;
};

Result<> replay(ReplayOptions& options) {
  FOVEA_TRY(resolve(options.common));
  std::vector<FaultKind> faults;
  for (const std::string& name : options.chaos) {
    FOVEA_ASSIGN(faults.emplace_back(), fault_from_name(name));
  }
  if (!faults.empty() && options.common.config.rate == kMaxRate)
    return fail(ErrorCode::kInvalidArgument,
                "--chaos needs a --rate in Hz: what was lost is counted against it");
  FOVEA_ASSIGN(Report report, begin_report(options.common));
  FOVEA_ASSIGN(const auto runs, run_all(options.common.config));
  evaluate(report, runs);
  if (options.peak || options.rivals) {
    FOVEA_ASSIGN(report.peak, find_peak(options.common.config, kPeakLoss));
  }
  if (options.rivals) report.rivals = measure_rivals(options.common.config, report.peak->total_fps);
  if (!faults.empty()) {
    FOVEA_ASSIGN(report.faults, run_chaos(options.common.config, faults));
  }
  return deliver(report, options.common);
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
  fmt::print("{}", files.json ? to_json(result) : to_table(result));
  return result.any_worse();
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
  command->add_option("--precision", options.precisions, "fp32, int8, best")->delimiter(',');
  command->add_option("--model", options.models, "ONNX files or names of shipped ones")
      ->delimiter(',');
  command->add_option("--batch", options.batches, "Most frames in one inference")->delimiter(',');
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
  replay_command->add_flag("--peak", replay_options.peak,
                           "Also search the highest rate at which less than 5 % is lost");
  replay_command->add_flag("--rivals", replay_options.rivals,
                           "Also measure what a user would otherwise write, against our peak");
  replay_command
      ->add_option(
          "--chaos", replay_options.chaos,
          "Also one run with faults in it: kill, stall, unplug, cache; time to recover and "
          "frames lost")
      ->delimiter(',');
  SweepOptions sweep;
  CLI::App* sweep_command = add_sweep(app, sweep);
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
  const Result<> done = sweep_command->parsed() ? run_sweep(sweep) : replay(replay_options);
  return done ? kExitOk : refuse(done.error());
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) { return fovea::bench::run(argc, argv); }
