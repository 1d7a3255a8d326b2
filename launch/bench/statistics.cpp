#include "launch/bench/statistics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>

namespace fovea::bench {
namespace {

constexpr int kShuffles = 20000;
constexpr std::size_t kResamples = 4000;
// Up to here every division of the runs is tried: 6 + 6 has 924.
constexpr std::size_t kExactRuns = 12;
constexpr std::size_t kExactPairs = 14;

// Regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz's method).
double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x)) /
                       a;
  constexpr double kTiny = 1e-300;
  double c = 1;
  double d = 0;
  double f = 1;
  for (int i = 0; i <= 300; ++i) {
    const int m = i / 2;
    double numerator = 1;
    if (i > 0 && i % 2 == 0) {
      numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    } else if (i > 0) {
      numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    }
    d = 1 + numerator * d;
    d = 1 / (std::abs(d) < kTiny ? kTiny : d);
    c = 1 + numerator / (std::abs(c) < kTiny ? kTiny : c);
    f *= c * d;
    if (i > 0 && std::abs(1 - c * d) < 1e-14) break;
  }
  return front * (f - 1);
}

double student_t_probability(double t, double degrees_of_freedom) {
  const double x = degrees_of_freedom / (degrees_of_freedom + t * t);
  return 1 - incomplete_beta(degrees_of_freedom / 2, 0.5, x) / 2;
}

double sum(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// Wilcoxon's: the rank of the size of each relative difference among all, with its sign.
std::vector<double> signed_ranks(std::span<const double> a, std::span<const double> b) {
  std::vector<double> differences;
  for (std::size_t i = 0; i < a.size(); ++i)
    differences.push_back(a[i] == b[i] ? 0 : (b[i] - a[i]) / (std::abs(a[i]) + std::abs(b[i])));
  std::vector<double> ranks;
  for (const double difference : differences) {
    double rank = 0.5;
    for (const double other : differences) {
      if (std::abs(other) < std::abs(difference)) rank += 1;
      if (std::abs(other) == std::abs(difference)) rank += 0.5;  // equal ones share their ranks
    }
    ranks.push_back(difference > 0 ? rank : difference < 0 ? -rank : 0);
  }
  return ranks;
}

}  // namespace

double mean(std::span<const double> values) {
  return values.empty() ? 0 : sum(values) / static_cast<double>(values.size());
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double centre = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - centre) * (value - centre);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

Sorted::Sorted(std::vector<double> values) : values_(std::move(values)) {
  std::sort(values_.begin(), values_.end());
}

double Sorted::quantile(double q) const {
  if (values_.empty()) return 0;
  const double rank = std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(values_.size()));
  return values_[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

double student_t_quantile(double p, double degrees_of_freedom) {
  double low = 0;
  double high = 1e6;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (student_t_probability(middle, degrees_of_freedom) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

Interval confidence_interval(std::span<const double> values) {
  const double centre = mean(values);
  if (values.size() < 2) return {centre, centre};
  const auto count = static_cast<double>(values.size());
  const double reach =
      student_t_quantile(0.975, count - 1) * standard_deviation(values) / std::sqrt(count);
  return {centre - reach, centre + reach};
}

double permutation_p_value(std::span<const double> a, std::span<const double> b) {
  if (a.empty() || b.empty()) return 1;
  std::vector<double> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  const double total = sum(all);
  const auto first = static_cast<double>(a.size());
  const auto second = static_cast<double>(b.size());
  const auto difference = [&](double sum_a) {
    return std::abs(sum_a / first - (total - sum_a) / second);
  };
  // Rounding must not make a permutation look smaller than itself.
  const double seen = difference(sum(a)) * (1 - 1e-9);
  std::size_t extreme = 0;
  std::size_t tried = 0;
  if (all.size() <= kExactRuns) {
    for (std::uint32_t mask = 0; mask < (1u << all.size()); ++mask) {
      if (static_cast<std::size_t>(std::popcount(mask)) != a.size()) continue;
      double sum_a = 0;
      for (std::size_t i = 0; i < all.size(); ++i) sum_a += (mask >> i & 1u) != 0 ? all[i] : 0;
      ++tried;
      extreme += difference(sum_a) >= seen;
    }
    return static_cast<double>(extreme) / static_cast<double>(tried);
  }
  std::mt19937_64 random(1);  // the same answer every time
  for (int i = 0; i < kShuffles; ++i) {
    std::shuffle(all.begin(), all.end(), random);
    extreme += difference(sum({all.data(), a.size()})) >= seen;
  }
  return static_cast<double>(extreme + 1) / (kShuffles + 1);
}

double paired_p_value(std::span<const double> a, std::span<const double> b) {
  const std::vector<double> ranks = signed_ranks(a, b);
  if (ranks.empty()) return 1;
  const double seen = std::abs(sum(ranks)) * (1 - 1e-9);
  std::size_t extreme = 0;
  if (ranks.size() <= kExactPairs) {
    for (std::uint32_t swapped = 0; swapped < (1u << ranks.size()); ++swapped) {
      double total = 0;
      for (std::size_t i = 0; i < ranks.size(); ++i)
        total += (swapped >> i & 1u) != 0 ? -ranks[i] : ranks[i];
      extreme += std::abs(total) >= seen;
    }
    return static_cast<double>(extreme) / static_cast<double>(1u << ranks.size());
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < kShuffles; ++i) {
    double total = 0;
    for (const double rank : ranks) total += (random() & 1u) != 0 ? -rank : rank;
    extreme += std::abs(total) >= seen;
  }
  return static_cast<double>(extreme + 1) / (kShuffles + 1);
}

Interval bootstrap_ratio(std::span<const double> a, std::span<const double> b) {
  std::mt19937_64 random(1);
  const auto resampled_mean = [&](std::span<const double> values) {
    std::uniform_int_distribution<std::size_t> pick(0, values.size() - 1);
    double total = 0;
    for (std::size_t i = 0; i < values.size(); ++i) total += values[pick(random)];
    return total / static_cast<double>(values.size());
  };
  std::vector<double> ratios;
  ratios.reserve(kResamples);
  for (std::size_t i = 0; i < kResamples; ++i) {
    const double below = resampled_mean(a);
    const double above = resampled_mean(b);
    if (below > 0) ratios.push_back(above / below);
  }
  const Sorted sorted(std::move(ratios));
  return {sorted.quantile(0.025), sorted.quantile(0.975)};
}

PairedRatio paired_ratio(std::span<const double> a, std::span<const double> b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(b[i] / a[i]);
  std::mt19937_64 random(1);
  std::uniform_int_distribution<std::size_t> pick(0, ratios.size() - 1);
  std::vector<double> medians;
  for (std::size_t i = 0; i < kResamples; ++i) {
    std::vector<double> drawn;
    for (std::size_t k = 0; k < ratios.size(); ++k) drawn.push_back(ratios[pick(random)]);
    medians.push_back(median(std::move(drawn)));
  }
  const Sorted sorted(std::move(medians));
  return {median(std::move(ratios)), {sorted.quantile(0.025), sorted.quantile(0.975)}};
}

}  // namespace fovea::bench
