// The arithmetic behind the figures: quantiles of frames, confidence over runs, and whether two
// sets of runs differ.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::bench {

double mean(std::span<const double> values);                // 0 when empty
double median(std::vector<double> values);                  // 0 when empty
double standard_deviation(std::span<const double> values);  // of a sample; 0 below two values

// Quantiles by nearest rank over values that are sorted once.
class Sorted {
 public:
  explicit Sorted(std::vector<double> values);

  std::size_t size() const { return values_.size(); }
  double quantile(double q) const;  // q in [0, 1]; 0 when empty
  double min() const { return quantile(0); }
  double max() const { return quantile(1); }
  std::span<const double> values() const { return values_; }

 private:
  std::vector<double> values_;
};

struct Interval {
  double low = 0;
  double high = 0;
};

// 95 % confidence interval of the mean (Student's t). With one value: that value.
Interval confidence_interval(std::span<const double> values);

// The t value that a standard t variable stays below with probability `p` in (0.5, 1).
// REQUIRES: degrees_of_freedom >= 1.
double student_t_quantile(double p, double degrees_of_freedom);

// Probability that a difference of means at least as large as the one seen arises when the runs of
// a and b are interchangeable, two-sided: every way of dealing them out again is tried, or
// `kShuffles` random ones where there are more. Smallest possible value with 5 + 5 runs: 0.008.
// 1 when either is empty.
double permutation_p_value(std::span<const double> a, std::span<const double> b);

// The same where a[i] and b[i] were measured one after the other: only the two of a pair could have
// changed places, so whatever moves both, as a busy machine does, cancels out. The statistic is
// Wilcoxon's, of the ranks of the relative differences: a disturbance that hits one of a pair
// counts no more than the largest honest difference. Smallest possible value with 8 pairs: 0.008.
// REQUIRES: as many of either.
double paired_p_value(std::span<const double> a, std::span<const double> b);

// 95 % interval of mean(b) / mean(a) by resampling runs. REQUIRES: both non-empty, mean(a) > 0.
Interval bootstrap_ratio(std::span<const double> a, std::span<const double> b);
// Median of b[i] / a[i] with its 95 % interval by resampling pairs. REQUIRES: as many of either,
// not empty, all of a > 0.
struct PairedRatio {
  double median = 1;
  Interval interval;
};
PairedRatio paired_ratio(std::span<const double> a, std::span<const double> b);

}  // namespace fovea::bench
