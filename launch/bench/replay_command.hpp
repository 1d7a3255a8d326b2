// `fovea bench replay`: runs the pipeline as often as asked and reports.
//
// Thread safety: one command per process.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/bench/bench_config.hpp"
#include "launch/bench/chaos.hpp"
#include "launch/bench/peak.hpp"
#include "launch/bench/report.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bench {

// 0 done; 1 the measurement failed, or `compare` found a regression; 2 bad command line.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

int refuse(const Error& error);

// Options that every command has which runs the pipeline.
struct CommonOptions {
  BenchConfig config;
  std::string rate = "10";
  std::string phase = "spread";
  std::string json, html;  // files to write; "-" = stdout (json only); empty = none
  std::vector<std::string> parameters;
  std::string command;  // as typed, for the report
};
// Turns text into values and completes the config. Errors name the option.
Result<> resolve(CommonOptions& options);

// A report with everything that is known before the first run.
Result<Report> begin_report(const CommonOptions& options);
// One run, whose pieces of latency add up; what came of it goes to stderr behind `label`.
Result<RunResult> run_checked(const BenchConfig& config, const std::string& label);
// `config.runs` runs and what follows from them; progress goes to stderr.
Result<std::vector<RunResult>> run_all(const BenchConfig& config);
// The same with the programs in `against`, in turns: one run of either, then the other two in
// reverse, so that neither has the better minutes of a busy machine. First the runs of `config`.
// Errors: also kInvalidArgument when `against` is no folder.
Result<std::pair<std::vector<RunResult>, std::vector<RunResult>>> run_in_turns(
    const BenchConfig& config, const BenchConfig& against);
// Prints the table, writes the files.
Result<> deliver(const Report& report, const CommonOptions& options);

// One run with these faults in it, over an engine cache of its own. REQUIRES: a fixed rate.
Result<std::vector<Fault>> run_chaos(BenchConfig config, const std::vector<FaultKind>& faults);

// Searches once more for the peak, in runs of `config.duration_s`: at first around `estimate` (Hz
// of each camera), later around what the last search found.
Result<> add_peak(BenchConfig config, double estimate, Peak& peak);

}  // namespace fovea::bench
