// A comparison is worth having only if it finds what is there and nothing else.
#include "bench/replay/compare.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/replay/made_report.hpp"

namespace fovea::bench {
namespace {

using test::made_report;
using test::made_run;
using testing::HasSubstr;
using testing::IsEmpty;

// Runs differ from each other by up to `between` in all their latencies, frames by up to 30 %.
Report measured(int runs, double slowdown, double between, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> factor(1, 1 + between);
  std::vector<RunResult> all;
  for (int i = 0; i < runs; ++i)
    all.push_back(made_run(2, 20, 3, 2 * slowdown * factor(random), 0.3, random()));
  return made_report(all);
}

const Comparison& figure(const ComparisonReport& report, std::string_view name) {
  for (const Comparison& comparison : report.figures) {
    if (comparison.name == name) return comparison;
  }
  throw std::out_of_range(std::string(name));
}

TEST(Compare, FindsAPlantedSlowdownOfFivePercent) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto result =
        compare(measured(5, 1, 0.02, 2 * seed), measured(5, 1.05, 0.02, 2 * seed + 1), {});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_TRUE(result->any_worse()) << to_table(*result);
    const Comparison& p50 = figure(*result, "latency_ms.p50");
    EXPECT_EQ(p50.verdict, Verdict::kWorse);
    EXPECT_NEAR(p50.ratio, 1.05, 0.02);
    EXPECT_EQ(figure(*result, "fps").verdict, Verdict::kSame);
  }
}

TEST(Compare, RaisesNoFalseAlarmInTwentyRerunsOfTheSameBuild) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto result =
        compare(measured(5, 1, 0.05, 100 + 2 * seed), measured(5, 1, 0.05, 101 + 2 * seed), {});
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->any_worse()) << to_table(*result);
  }
}

TEST(Compare, ASpeedUpIsNoRegression) {
  const auto result = compare(measured(5, 1.1, 0.02, 1), measured(5, 1, 0.02, 2), {});
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->any_worse());
  EXPECT_EQ(figure(*result, "latency_ms.p50").verdict, Verdict::kBetter);
}

TEST(Compare, ADifferenceWithinTheNoiseIsUnclearAtMost) {
  const auto result = compare(measured(5, 1, 0.6, 7), measured(5, 1.05, 0.6, 8), {});
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->any_worse()) << to_table(*result);
}

TEST(Compare, WhatIsTooSmallToMatterIsTheSame) {
  // 0.1 ms of latency in all: 5 % more is 5 us.
  std::vector<RunResult> before, after;
  for (std::uint64_t i = 0; i < 5; ++i) {
    before.push_back(made_run(1, 20, 2, 0.0125, 0.01, i));
    after.push_back(made_run(1, 20, 2, 0.0131, 0.01, 100 + i));
  }
  const auto result = compare(made_report(before), made_report(after), {});
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->any_worse()) << to_table(*result);
}

TEST(Compare, TooFewRunsAreRefusedWithTheNumberThatIsNeeded) {
  const auto result = compare(measured(3, 1, 0.02, 1), measured(3, 2, 0.02, 2), {});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("--runs 5"));
}

TEST(Compare, SaysWhenItIsNotTheSameMeasurement) {
  Report before = measured(5, 1, 0.02, 1);
  Report after = measured(5, 1, 0.02, 2);
  EXPECT_THAT(compare(before, after, {})->differences, IsEmpty());
  after.hashes.video = "other";
  after.host.cpu = "Another CPU";
  const auto result = compare(before, after, {});
  EXPECT_EQ(result->differences.size(), 2u);
  EXPECT_THAT(to_table(*result), HasSubstr("not the same measurement: CPU"));
  EXPECT_THAT(to_json(*result), HasSubstr("\"verdict\": \"same\""));
}

TEST(Compare, AllFiguresNeedMoreRuns) {
  CompareOptions options;
  options.all_figures = true;
  const auto result = compare(measured(5, 1, 0.02, 1), measured(5, 1, 0.02, 2), options);
  ASSERT_FALSE(result);
  const auto more = compare(measured(9, 1, 0.02, 1), measured(9, 1.05, 0.02, 2), options);
  ASSERT_TRUE(more) << more.error().message;
  EXPECT_TRUE(more->any_worse());
}

}  // namespace
}  // namespace fovea::bench
