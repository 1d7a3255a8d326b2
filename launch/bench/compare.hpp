// Whether a second report is worse than a first one, figure by figure: for CI.
//
// A figure counts as changed when three things agree: its mean moved by at least `min_effect`, the
// runs could hardly be dealt out like this by chance (permutation test, Holm's correction over all
// figures judged), and the whole 95 % interval of the ratio shows at least half of it. One of them
// alone raises false alarms. Runs that were made in turns (`replay --against`) are compared pair by
// pair, which cancels what a busy machine does to both.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/bench/report.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bench {

enum class Verdict { kSame, kBetter, kWorse, kUnclear };
std::string_view name_of(Verdict verdict);

struct CompareOptions {
  double min_effect = 0.03;  // of the first report's mean
  double alpha = 0.05;       // chance of one false alarm in the whole comparison
  // Differences below these do not matter whatever their ratio is.
  double min_ms = 0.05;
  double min_percent = 1;
  bool all_figures = false;  // judge every figure, not only the main ones
};

struct Comparison {
  std::string name, unit;
  double before = 0, after = 0;
  double ratio = 1;  // after / before; of runs in turns the median of the pairs' ratios
  Interval ratio_interval;
  double p_value = 1;
  Verdict verdict = Verdict::kSame;
};

struct ComparisonReport {
  std::vector<Comparison> figures;
  std::vector<std::string> differences;  // of input, settings or host: not the same measurement
  bool paired = false;                   // the runs were made in turns
  bool any_worse() const;
};

// Errors: kInvalidArgument when a report has too few runs to ever tell a difference (below 5 + 5,
// or 8 pairs), or no figure in common.
Result<ComparisonReport> compare(const Report& before, const Report& after,
                                 const CompareOptions& options);

// Pairs of runs that compare() asks for with its default options.
std::size_t pairs_needed();

std::string to_table(const ComparisonReport& comparison);
std::string to_json(const ComparisonReport& comparison);

}  // namespace fovea::bench
