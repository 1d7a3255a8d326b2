#include "launch/bench/replay_command.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include <fmt/core.h>
#include <unistd.h>

#include "launch/bench/scratch_folder.hpp"
#include "launch/install_paths.hpp"
#include "launch/looking/report.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/terminal.hpp"

namespace fovea::bench {
namespace {

constexpr double kFirstStride = 1.1;
constexpr double kLaterStride = 1.03;
constexpr double kSecondsPerFault = 12;  // a heartbeat is overdue after five

Result<double> parse_rate(const std::string& text) {
  if (text == "max") return kMaxRate;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--rate is {}; it must be `max` or a number above 0 (Hz)", text));
  return value;
}

std::string utc_now() {
  const std::time_t now = realtime_ns() / 1'000'000'000;
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

std::string next_domain() {
  static int number = 0;
  return fmt::format("bench-{}-{}", getpid(), ++number);
}

Result<RunResult> run_once(const BenchConfig& config) {
  return run_pipeline(config, {.domain = next_domain()});
}

void say(const std::string& text) { print_error("fovea bench: {}", text); }

}  // namespace

int refuse(const Error& error) {
  print_error("fovea bench: {}", error.message);
  const bool is_input = error.code == ErrorCode::kInvalidArgument ||
                        error.code == ErrorCode::kNotFound || error.code == ErrorCode::kCorrupt ||
                        error.code == ErrorCode::kUnsupported;
  return is_input ? kExitUsage : kExitFailed;
}

Result<> resolve(CommonOptions& options) {
  FOVEA_ASSIGN(options.config.rate, parse_rate(options.rate));
  options.config.phase = options.phase == "aligned" ? Phase::kAligned : Phase::kSpread;
  for (const std::string& text : options.parameters) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("--parameter is {}; write node.name=value", text));
    options.config.parameters.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return complete(options.config, launch::share_directory());
}

Result<Report> begin_report(const CommonOptions& options) {
  Report report;
  report.command = options.command;
  report.started = utc_now();
  report.version = FOVEA_VERSION;
  report.config = options.config;
  FOVEA_ASSIGN(report.hashes, hash_inputs(options.config));
  report.host = describe_host();
  return report;
}

Result<RunResult> run_checked(const BenchConfig& config, const std::string& label) {
  FOVEA_ASSIGN(RunResult run, run_once(config));
  Report one;
  evaluate(one, {run});
  FOVEA_TRY(check_piece_sum(one));
  say(fmt::format("{}: {:.1f} frames/s, {:.2f} % lost, p50 {:.2f} ms, p99 {:.2f} ms", label,
                  static_cast<double>(run.delivered()) / run.seconds_long(), 100 * run.loss(),
                  one.latency.quantiles[0], one.latency.quantiles[3]));
  return run;
}

Result<std::vector<RunResult>> run_all(const BenchConfig& config) {
  std::vector<RunResult> runs;
  for (std::uint32_t i = 0; i < config.runs; ++i) {
    FOVEA_ASSIGN(runs.emplace_back(),
                 run_checked(config, fmt::format("run {} of {}", i + 1, config.runs)));
  }
  return runs;
}

Result<std::pair<std::vector<RunResult>, std::vector<RunResult>>> run_in_turns(
    const BenchConfig& config, const BenchConfig& against) {
  std::pair<std::vector<RunResult>, std::vector<RunResult>> runs;
  for (std::uint32_t i = 0; i < config.runs; ++i) {
    const auto run_other = [&]() -> Result<> {
      FOVEA_ASSIGN(
          runs.second.emplace_back(),
          run_checked(against, fmt::format("run {} of {}, the other", i + 1, config.runs)));
      return {};
    };
    if (i % 2 == 0) FOVEA_TRY(run_other());
    FOVEA_ASSIGN(runs.first.emplace_back(),
                 run_checked(config, fmt::format("run {} of {}", i + 1, config.runs)));
    if (i % 2 != 0) FOVEA_TRY(run_other());
  }
  return runs;
}

Result<> deliver(const Report& report, const CommonOptions& options) {
  if (options.json == "-") {
    print_out("{}", to_json(report));
  } else {
    print_out("{}", to_table(report));
    if (!options.json.empty()) FOVEA_TRY(write_file(options.json, to_json(report)));
  }
  if (!options.html.empty()) FOVEA_TRY(write_file(options.html, to_html(report)));
  return {};
}

Result<std::vector<Fault>> run_chaos(BenchConfig config, const std::vector<FaultKind>& faults) {
  // Damage must not reach the user's own engines.
  const ScratchFolder cache;
  config.parameters.emplace_back("detector.cache_dir", cache.path().string());
  config.duration_s =
      std::max(config.duration_s, kSecondsPerFault * static_cast<double>(faults.size()));
  const std::string domain = next_domain();
  Chaos chaos(domain, faults, config.duration_s, cache.path());
  say(fmt::format("chaos: {:g} s", config.duration_s));
  FOVEA_ASSIGN(const RunResult run,
               run_pipeline(config, {.domain = domain, .disturbance = &chaos}));
  return chaos.evaluate(run, config.rate);
}

Result<> add_peak(BenchConfig config, double estimate, Peak& peak) {
  const bool is_first = peak.rate.empty() || peak.rate.back() == 0;
  FOVEA_ASSIGN(
      PeakSearch found,
      search_peak(is_first ? estimate : peak.rate.back(), is_first ? kFirstStride : kLaterStride,
                  [&](double rate) -> Result<double> {
                    config.rate = rate;
                    FOVEA_ASSIGN(const RunResult run, run_once(config));
                    say(fmt::format("peak: {:.2f} Hz loses {:.2f} %", rate, 100 * run.loss()));
                    return run.loss();
                  }));
  peak.limit = kPeakLoss;
  peak.rate.push_back(found.rate);
  peak.total_fps.push_back(found.rate * config.cameras);
  peak.steps.push_back(std::move(found.steps));
  return {};
}

}  // namespace fovea::bench
