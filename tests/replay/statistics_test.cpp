// Against textbook values and against what is known of made-up samples.
#include "launch/bench/statistics.hpp"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace fovea::bench {
namespace {

std::vector<double> normal(std::size_t count, double centre, double spread, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> distribution(centre, spread);
  std::vector<double> values(count);
  for (double& value : values) value = distribution(random);
  return values;
}

TEST(Quantiles, NearestRankWhateverTheOrder) {
  const Sorted sorted({5, 1, 4, 2, 3});
  EXPECT_EQ(sorted.quantile(0), 1);
  EXPECT_EQ(sorted.quantile(0.2), 1);
  EXPECT_EQ(sorted.quantile(0.21), 2);
  EXPECT_EQ(sorted.quantile(0.5), 3);
  EXPECT_EQ(sorted.quantile(0.99), 5);
  EXPECT_EQ(sorted.quantile(1), 5);
  EXPECT_EQ(Sorted({}).quantile(0.5), 0);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
}

TEST(StudentT, AgreesWithTables) {
  EXPECT_NEAR(student_t_quantile(0.975, 1), 12.706, 0.001);
  EXPECT_NEAR(student_t_quantile(0.975, 2), 4.303, 0.001);
  EXPECT_NEAR(student_t_quantile(0.975, 4), 2.776, 0.001);
  EXPECT_NEAR(student_t_quantile(0.975, 29), 2.045, 0.001);
  EXPECT_NEAR(student_t_quantile(0.95, 10), 1.812, 0.001);
}

TEST(ConfidenceInterval, CoversTheTruthNineteenTimesOfTwenty) {
  int covered = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Interval interval = confidence_interval(normal(5, 10, 2, seed));
    covered += interval.low <= 10 && 10 <= interval.high;
  }
  EXPECT_GT(covered, 920);
  EXPECT_LT(covered, 975);
  const Interval single = confidence_interval(std::vector<double>{7});
  EXPECT_EQ(single.low, 7);
  EXPECT_EQ(single.high, 7);
}

TEST(PermutationTest, ExactValues) {
  const std::vector<double> low{1, 2, 3, 4, 5};
  const std::vector<double> high{11, 12, 13, 14, 15};
  EXPECT_NEAR(permutation_p_value(low, high), 2.0 / 252, 1e-12);
  EXPECT_EQ(permutation_p_value(low, low), 1);
  EXPECT_EQ(permutation_p_value(low, {}), 1);
}

TEST(PermutationTest, IsRightlyUnsureOfEqualSamples) {
  int alarms = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    alarms +=
        permutation_p_value(normal(5, 10, 1, 2 * seed), normal(5, 10, 1, 2 * seed + 1)) <= 0.05;
  }
  EXPECT_LT(alarms, 36);  // 20 expected
  EXPECT_GT(alarms, 5);
}

TEST(PermutationTest, ShufflesWhereThereAreTooManyWays) {
  EXPECT_LT(permutation_p_value(normal(20, 10, 0.1, 1), normal(20, 11, 0.1, 2)), 0.001);
  EXPECT_GT(permutation_p_value(normal(20, 10, 1, 3), normal(20, 10, 1, 4)), 0.01);
}

TEST(BootstrapRatio, LiesAroundTheTruth) {
  const Interval ratio = bootstrap_ratio(normal(10, 100, 1, 1), normal(10, 105, 1, 2));
  EXPECT_LT(ratio.low, 1.05);
  EXPECT_GT(ratio.high, 1.045);
  EXPECT_GT(ratio.low, 1.03);
  EXPECT_LT(ratio.high, 1.07);
}

TEST(PairedTest, SeesThroughWhatMovesBothOfAPair) {
  const std::vector<double> a{10, 20, 30, 40, 50, 60, 70, 80};
  std::vector<double> b;
  for (const double value : a) b.push_back(value * 1.05);
  EXPECT_DOUBLE_EQ(paired_p_value(a, b), 2.0 / 256);
  EXPECT_GT(permutation_p_value(a, b), 0.5);
  const PairedRatio ratio = paired_ratio(a, b);
  EXPECT_NEAR(ratio.median, 1.05, 1e-9);
  EXPECT_NEAR(ratio.interval.low, 1.05, 1e-9);
  EXPECT_NEAR(ratio.interval.high, 1.05, 1e-9);
  EXPECT_DOUBLE_EQ(paired_p_value(a, a), 1);
  EXPECT_DOUBLE_EQ(paired_p_value({}, {}), 1);
}

TEST(PairedTest, OneDisturbedPairHidesNothing) {
  const std::vector<double> a{10, 10, 10, 10, 30, 10, 10, 10, 10, 10, 10, 10};
  const std::vector<double> b(a.size(), 10.5);
  EXPECT_LT(paired_p_value(a, b), 0.05);
  EXPECT_GT(permutation_p_value(a, b), 0.3);
  EXPECT_NEAR(paired_ratio(a, b).median, 1.05, 1e-9);
  EXPECT_GT(paired_ratio(a, b).interval.low, 1);
}

TEST(PairedTest, RanksAreWilcoxons) {
  // Differences 1, 2, -3 of 100: ranks 1, 2, -3 sum to 0, and every dealing is at least as extreme.
  EXPECT_DOUBLE_EQ(
      paired_p_value(std::vector<double>{100, 100, 100}, std::vector<double>{101, 102, 97}), 1);
  // 1 + 2 + 3 = 6 is reached by two of eight.
  EXPECT_DOUBLE_EQ(
      paired_p_value(std::vector<double>{100, 100, 100}, std::vector<double>{101, 102, 103}), 0.25);
}

TEST(PairedTest, ManyPairsAreSampled) {
  std::vector<double> a(20, 1), b(20, 2);
  EXPECT_LT(paired_p_value(a, b), 1e-3);
  for (std::size_t i = 0; i < b.size(); i += 2) b[i] = 0.5;
  EXPECT_GT(paired_p_value(a, b), 0.5);
}

}  // namespace
}  // namespace fovea::bench
