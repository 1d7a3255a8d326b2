// `fovea bench replay`: runs the pipeline as often as asked and reports.
//
// Thread safety: one command per process.
#pragma once

#include <string>
#include <vector>

#include "bench/replay/bench_config.hpp"
#include "bench/replay/chaos.hpp"
#include "bench/replay/report.hpp"
#include "nodes/runtime/result.hpp"

namespace CLI {
class App;
}

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
void add_common_options(CLI::App& app, CommonOptions& options);
// Turns text into values and completes the config. Errors name the option.
Result<> resolve(CommonOptions& options);

// A report with everything that is known before the first run.
Result<Report> begin_report(const CommonOptions& options);
// `config.runs` runs and what follows from them; progress goes to stderr.
Result<std::vector<RunResult>> run_all(const BenchConfig& config);
// Prints the table, writes the files.
Result<> deliver(const Report& report, const CommonOptions& options);

// One run with these faults in it, over an engine cache of its own. REQUIRES: a fixed rate.
Result<std::vector<Fault>> run_chaos(BenchConfig config, const std::vector<FaultKind>& faults);

// Highest rate at which less than `limit` of the frames is lost, by bisection to within 2 %, in
// runs of `config.duration_s`.
Result<Peak> find_peak(BenchConfig config, double limit);

}  // namespace fovea::bench
