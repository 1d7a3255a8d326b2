// A comparison is worth having only if it finds what is there and nothing else.
#include "launch/bench/compare.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/self_check.hpp"
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

// Runs in turns on a machine whose speed drifts by `drift` from run to run, far beyond 5 %.
std::pair<Report, Report> in_turns(int runs, double slowdown, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> drift(1, 1.5), factor(1, 1.02);
  std::pair<std::vector<RunResult>, std::vector<RunResult>> all;
  for (int i = 0; i < runs; ++i) {
    const double piece_ms = 2 * drift(random);
    all.first.push_back(made_run(2, 20, 3, piece_ms * factor(random), 0.3, random()));
    all.second.push_back(made_run(2, 20, 3, piece_ms * factor(random) * slowdown, 0.3, random()));
  }
  std::pair<Report, Report> reports{made_report(all.first), made_report(all.second)};
  reports.first.turns = reports.second.turns = "today";
  return reports;
}

TEST(Compare, RunsInTurnsFindFivePercentOnADriftingMachine) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    auto [before, after] = in_turns(8, 1.05, seed);
    const auto result = compare(before, after, {});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_TRUE(result->paired);
    EXPECT_EQ(figure(*result, "latency_ms.p50").verdict, Verdict::kWorse) << to_table(*result);
    after.turns = "yesterday";  // without the pairs nobody could tell
    EXPECT_FALSE(compare(before, after, {})->any_worse());
  }
}

TEST(Compare, RunsInTurnsRaiseNoFalseAlarmOnADriftingMachine) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto [before, after] = in_turns(8, 1, 100 + seed);
    const auto result = compare(before, after, {});
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->any_worse()) << to_table(*result);
  }
}

std::vector<std::vector<RunResult>> check_columns(int reruns, double slowdown, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> drift(1, 1.5), factor(1, 1.02);
  std::vector<std::vector<RunResult>> columns(static_cast<std::size_t>(reruns) + 3);
  for (int round = 0; round < 8; ++round) {
    double piece_ms = 2 * drift(random);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const bool is_end = i == 0 || i + 1 == columns.size();
      columns[i].push_back(
          made_run(1, 20, 2, piece_ms * factor(random) * (is_end ? slowdown : 1), 0.3, random()));
    }
  }
  return columns;
}

TEST(Check, CountsWhatIsFoundAndFalseAlarms) {
  const Report about = measured(1, 1, 0, 1);
  const auto good = judge_columns(check_columns(5, 1.05, 1), about);
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(good->reruns.size(), 5u);
  EXPECT_EQ(good->false_alarms(), 0u);
  EXPECT_EQ(good->found(), 2u);
  EXPECT_THAT(to_table(*good), HasSubstr("false alarms: 0 of 5; planted slowdown found: 2 of 2"));

  // Nothing was planted, and one of the same programs is slower: two comparisons see it.
  auto columns = check_columns(5, 1, 2);
  columns[3] = check_columns(5, 1.3, 2)[0];
  const auto bad = judge_columns(columns, about);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->false_alarms(), 2u) << to_table(*bad);
  EXPECT_EQ(bad->found(), 0u);
}

// Every pair moved the same way, so chance alone would be ruled out; but by 2 % to 300 %.
TEST(Compare, WildlyScatteredPairsAreUnclear) {
  Report before = measured(8, 1, 0, 1);
  Report after = before;
  before.turns = after.turns = "today";
  for (Report* report : {&before, &after}) {
    for (Figure& each : report->figures) {
      each.runs = {10, 10, 10, 10, 10, 10, 10, 10};
      if (report == &after && each.name == "latency_ms.p50")
        each.runs = {10.2, 10.3, 10.2, 14, 10.2, 40, 35, 30};
    }
  }
  const auto scattered = compare(before, after, {});
  ASSERT_TRUE(scattered);
  EXPECT_EQ(figure(*scattered, "latency_ms.p50").verdict, Verdict::kUnclear);
  for (Figure& each : after.figures) {
    if (each.name == "latency_ms.p50") each.runs = {12, 12.1, 11.9, 12, 12, 12.1, 12.2, 11.9};
  }
  const auto clear = compare(before, after, {});
  ASSERT_TRUE(clear);
  EXPECT_EQ(figure(*clear, "latency_ms.p50").verdict, Verdict::kWorse);
}

TEST(Compare, TooFewPairsAreRefusedWithTheNumberThatIsNeeded) {
  const auto [before, after] = in_turns(7, 2, 1);
  const auto result = compare(before, after, {});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("--runs 8"));
  EXPECT_EQ(pairs_needed(), 8u);
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
