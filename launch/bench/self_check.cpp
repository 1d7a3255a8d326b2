#include "launch/bench/self_check.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "launch/install_paths.hpp"
#include "nodes/base/terminal.hpp"

namespace fovea::bench {
namespace {

bool says(const ComparisonReport& report, Verdict verdict) {
  return std::any_of(report.figures.begin(), report.figures.end(),
                     [&](const Comparison& figure) { return figure.verdict == verdict; });
}

// "engine.p50 1.049 (1.047..1.051)": what was decided; else what could not be.
std::string findings(const ComparisonReport& report) {
  std::string text;
  for (const Comparison& figure : report.figures) {
    if (figure.verdict == Verdict::kSame) continue;
    text += fmt::format("{}{} {} {:.3f} ({:.3f}..{:.3f})", text.empty() ? "" : ", ",
                        name_of(figure.verdict), figure.name, figure.ratio,
                        figure.ratio_interval.low, figure.ratio_interval.high);
  }
  return text.empty() ? "same" : text;
}

}  // namespace

CheckOptions::CheckOptions() {
  common.config.cameras = 2;
  common.config.duration_s = 1;
  common.config.warmup_s = 0.2;
  common.config.runs = static_cast<std::uint32_t>(pairs_needed());
  common.rate = "20";
}

std::size_t CheckResult::false_alarms() const {
  return static_cast<std::size_t>(
      std::count_if(reruns.begin(), reruns.end(), [](const ComparisonReport& report) {
        return says(report, Verdict::kWorse) || says(report, Verdict::kBetter);
      }));
}

std::size_t CheckResult::found() const {
  return static_cast<std::size_t>(
      std::count_if(planted.begin(), planted.end(),
                    [](const ComparisonReport& report) { return report.any_worse(); }));
}

Result<CheckResult> judge_columns(const std::vector<std::vector<RunResult>>& columns,
                                  const Report& about) {
  std::vector<Report> reports;
  for (const std::vector<RunResult>& runs : columns) {
    reports.push_back(about);
    reports.back().turns = "check";
    evaluate(reports.back(), runs);
  }
  CheckResult result;
  const std::size_t last = reports.size() - 1;
  FOVEA_ASSIGN(result.planted.emplace_back(), compare(reports[1], reports[0], {}));
  FOVEA_ASSIGN(result.planted.emplace_back(), compare(reports[last - 1], reports[last], {}));
  for (std::size_t i = 1; i + 1 < last; ++i) {
    FOVEA_ASSIGN(result.reruns.emplace_back(), compare(reports[i], reports[i + 1], {}));
  }
  return result;
}

std::string to_table(const CheckResult& result) {
  std::string text;
  for (std::size_t i = 0; i < result.reruns.size(); ++i)
    text += fmt::format("rerun {:>3}  {}\n", i + 1, findings(result.reruns[i]));
  for (const ComparisonReport& planted : result.planted)
    text += fmt::format("planted    {}\n", findings(planted));
  text += fmt::format("false alarms: {} of {}; planted slowdown found: {} of {}\n",
                      result.false_alarms(), result.reruns.size(), result.found(),
                      result.planted.size());
  return text;
}

Result<bool> run_check(CheckOptions& options) {
  FOVEA_TRY(resolve(options.common));
  const BenchConfig& config = options.common.config;
  if (config.runs < pairs_needed())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--runs is {}; it must be {} or more to tell a change from chance",
                            config.runs, pairs_needed()));
  if (options.reruns < 1 || options.reruns > 1000)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--reruns is {}; it must be 1..1000", options.reruns));
  BenchConfig slowed = config;
  slowed.programs = options.planted.empty() ? launch::executable_directory() / "planted"
                                            : std::filesystem::path(options.planted);
  FOVEA_TRY(complete(slowed, launch::share_directory()));
  FOVEA_ASSIGN(const Report about, begin_report(options.common));

  std::vector<std::vector<RunResult>> columns(std::size_t{options.reruns} + 3);
  for (std::uint32_t round = 0; round < config.runs; ++round) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::size_t place = round % 2 == 0 ? i : columns.size() - 1 - i;
      const bool is_end = place == 0 || place + 1 == columns.size();
      FOVEA_ASSIGN(columns[place].emplace_back(),
                   run_checked(is_end ? slowed : config,
                               fmt::format("round {} of {}, {} of {}{}", round + 1, config.runs,
                                           i + 1, columns.size(), is_end ? ", slowed" : "")));
    }
  }
  FOVEA_ASSIGN(const CheckResult result, judge_columns(columns, about));
  print_out("{}", to_table(result));
  return result.false_alarms() == 0 && result.found() == result.planted.size();
}

}  // namespace fovea::bench
