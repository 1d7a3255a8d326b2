#include "launch/bench/compare.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace fovea::bench {
namespace {

// Judged unless all are asked for: few, so that few runs suffice to be sure of each.
constexpr std::array<std::string_view, 6> kMainFigures{
    "latency_ms.p50",  "latency_ms.p99", "overhead_ms.p50", "piece_ms.engine.p50", "fps",
    "cpu_ms_per_frame"};

double combinations(std::size_t n, std::size_t k) {
  double result = 1;
  for (std::size_t i = 1; i <= k; ++i)
    result *= static_cast<double>(n - k + i) / static_cast<double>(i);
  return result;
}

// The smallest value that permutation_p_value(), or paired_p_value(), can have.
double smallest_p_value(std::size_t a, std::size_t b, bool paired) {
  if (paired) return std::exp2(1 - static_cast<double>(a));
  return (a == b ? 2 : 1) / combinations(a + b, a);
}

std::size_t runs_for(std::size_t figures, bool paired, double alpha) {
  std::size_t runs = 2;
  while (smallest_p_value(runs, runs, paired) * static_cast<double>(figures) > alpha) ++runs;
  return runs;
}

// REQUIRES: as many runs of either where they are pairs.
Comparison measure(const Figure& before, const Figure& after, bool paired) {
  Comparison result;
  result.name = before.name;
  result.unit = before.unit;
  result.before = before.mean();
  result.after = after.mean();
  result.p_value = paired ? paired_p_value(before.runs, after.runs)
                          : permutation_p_value(before.runs, after.runs);
  const auto is_positive = [](double value) { return value > 0; };
  if (paired && std::all_of(before.runs.begin(), before.runs.end(), is_positive)) {
    const PairedRatio ratio = paired_ratio(before.runs, after.runs);
    result.ratio = ratio.median;
    result.ratio_interval = ratio.interval;
  } else if (result.before > 0) {
    result.ratio = result.after / result.before;
    result.ratio_interval = bootstrap_ratio(before.runs, after.runs);
  } else {  // nothing to compare with: any appearance is a change
    result.ratio = result.after > 0 ? HUGE_VAL : 1;
    result.ratio_interval = {result.ratio, result.ratio};
  }
  return result;
}

bool matters(const Comparison& comparison, const CompareOptions& options) {
  const double difference = std::abs(comparison.after - comparison.before);
  if (comparison.unit == "ms" && difference < options.min_ms) return false;
  if (comparison.unit == "%" && difference < options.min_percent) return false;
  return std::abs(comparison.ratio - 1) >= options.min_effect;
}

Verdict judge(const Comparison& comparison, double corrected_p, Better better,
              const CompareOptions& options) {
  if (better == Better::kNeither || !matters(comparison, options)) return Verdict::kSame;
  const bool grew = comparison.ratio > 1;
  // Half the change, as a ratio: where runs scatter so widely that not even that is sure, it is the
  // machine that speaks.
  const double half = std::sqrt(comparison.ratio);
  const bool apart =
      grew ? comparison.ratio_interval.low >= half : comparison.ratio_interval.high <= half;
  if (corrected_p > options.alpha || !apart) return Verdict::kUnclear;
  return grew == (better == Better::kHigher) ? Verdict::kBetter : Verdict::kWorse;
}

std::vector<std::string> differences(const Report& a, const Report& b) {
  std::vector<std::string> list;
  const auto check = [&](std::string_view what, const auto& before, const auto& after) {
    if (before != after) list.push_back(fmt::format("{}: {} and {}", what, before, after));
  };
  check("video (SHA-256)", a.hashes.video, b.hashes.video);
  check("model (SHA-256)", a.hashes.model, b.hashes.model);
  check("cameras", a.config.cameras, b.config.cameras);
  check("rate", a.config.rate, b.config.rate);
  check("precision", a.config.precision, b.config.precision);
  check("CPU", a.host.cpu, b.host.cpu);
  check("cores", a.host.cores, b.host.cores);
  return list;
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSame:
      return "same";
    case Verdict::kBetter:
      return "better";
    case Verdict::kWorse:
      return "worse";
    case Verdict::kUnclear:
      return "unclear";
  }
  return "";
}

std::size_t pairs_needed() { return runs_for(kMainFigures.size(), true, CompareOptions{}.alpha); }

bool ComparisonReport::any_worse() const {
  return std::any_of(figures.begin(), figures.end(), [](const Comparison& comparison) {
    return comparison.verdict == Verdict::kWorse;
  });
}

Result<ComparisonReport> compare(const Report& before, const Report& after,
                                 const CompareOptions& options) {
  ComparisonReport report;
  report.differences = differences(before, after);
  report.paired = !before.turns.empty() && before.turns == after.turns;
  std::vector<Better> better;
  std::size_t judged = 0;
  for (const Figure& figure : before.figures) {
    const bool is_main =
        std::find(kMainFigures.begin(), kMainFigures.end(), figure.name) != kMainFigures.end();
    if (!is_main && !options.all_figures) continue;
    const Figure* other = after.find(figure.name);
    if (other == nullptr || figure.runs.empty() || other->runs.empty()) continue;
    if (report.paired && figure.runs.size() != other->runs.size()) continue;
    report.figures.push_back(measure(figure, *other, report.paired));
    better.push_back(figure.better);
    judged += figure.better != Better::kNeither;
  }
  if (judged == 0)
    return fail(ErrorCode::kInvalidArgument, "the two reports have no figure in common");
  const std::size_t runs_before = before.figures.front().runs.size();
  const std::size_t runs_after = after.figures.front().runs.size();
  if (smallest_p_value(runs_before, runs_after, report.paired) * static_cast<double>(judged) >
      options.alpha) {
    const std::size_t needed = runs_for(judged, report.paired, options.alpha);
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} and {} runs cannot tell a change from chance in {} figures; measure "
                    "with --runs {}",
                    runs_before, runs_after, judged, needed));
  }

  // Holm: the least likely difference must survive all figures, the next one fewer, ...
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < report.figures.size(); ++i) {
    if (better[i] != Better::kNeither) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return report.figures[a].p_value < report.figures[b].p_value;
  });
  double corrected = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    Comparison& comparison = report.figures[order[rank]];
    corrected = std::max(
        corrected, std::min(1.0, comparison.p_value * static_cast<double>(order.size() - rank)));
    comparison.verdict = judge(comparison, corrected, better[order[rank]], options);
  }
  return report;
}

std::string to_table(const ComparisonReport& report) {
  std::string text;
  for (const std::string& difference : report.differences)
    text += fmt::format("not the same measurement: {}\n", difference);
  if (report.paired) text += "measured in turns: pairs of runs are compared\n";
  text += fmt::format("{:<28}{:>12}{:>12}{:>9}  {:<17}{:>8}  {}\n", "figure", "before", "after",
                      "ratio", "95 %", "p", "verdict");
  for (const Comparison& c : report.figures) {
    text += fmt::format("{:<28}{:>12.3f}{:>12.3f}{:>9.3f}  {:<17}{:>8.4f}  {}\n",
                        c.name + " " + c.unit, c.before, c.after, c.ratio,
                        fmt::format("{:.3f}..{:.3f}", c.ratio_interval.low, c.ratio_interval.high),
                        c.p_value, name_of(c.verdict));
  }
  return text;
}

std::string to_json(const ComparisonReport& report) {
  using Json = nlohmann::ordered_json;
  Json figures = Json::object();
  for (const Comparison& c : report.figures) {
    figures[c.name] = {
        {"unit", c.unit},
        {"before", c.before},
        {"after", c.after},
        {"ratio", std::isfinite(c.ratio) ? Json(c.ratio) : Json(nullptr)},
        {"low", std::isfinite(c.ratio) ? Json(c.ratio_interval.low) : Json(nullptr)},
        {"high", std::isfinite(c.ratio) ? Json(c.ratio_interval.high) : Json(nullptr)},
        {"p_value", c.p_value},
        {"verdict", name_of(c.verdict)}};
  }
  const Json json{{"worse", report.any_worse()},
                  {"differences", report.differences},
                  {"paired", report.paired},
                  {"figures", figures}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace fovea::bench
