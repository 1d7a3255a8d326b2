// The search on pipelines whose peak is known.
#include "launch/bench/peak.hpp"

#include <gtest/gtest.h>

#include "tests/replay/made_report.hpp"

namespace fovea::bench {
namespace {

using test::made_report;
using test::made_run;

// Loses what exceeds `capacity`.
PeakSearch search(double capacity, double start, double stride) {
  const auto found = search_peak(start, stride, [capacity](double rate) -> Result<double> {
    return rate > capacity ? 1 - capacity / rate : 0;
  });
  return found.value();
}

TEST(Peak, IsFoundToWithinTwoPercentFromAnyStart) {
  for (const double start : {0.0, 3.0, 25.0, 30.0, 33.0, 80.0, 900.0}) {
    // A loss of 5 % at 31.6 Hz.
    const PeakSearch found = search(30, start, 1.1);
    EXPECT_LE(found.rate, 30 / 0.95);
    EXPECT_GE(found.rate, 30 / 0.95 / 1.02) << "from " << start;
    EXPECT_LE(found.steps.size(), 16u);
  }
}

TEST(Peak, AGoodEstimateTakesFewSteps) {
  EXPECT_LE(search(30, 30, 1.1).steps.size(), 5u);
  EXPECT_LE(search(30, 31.5, 1.03).steps.size(), 3u);
}

TEST(Peak, NothingIsFoundWhereNothingIsKeptUpWith) {
  const PeakSearch found = search(0, 10, 1.1);
  EXPECT_EQ(found.rate, 0);
  EXPECT_FALSE(found.steps.empty());
  for (const PeakStep& step : found.steps) EXPECT_FALSE(step.kept_up);
}

TEST(Peak, AFailedRunEndsTheSearch) {
  const auto found = search_peak(
      10, 1.1, [](double) -> Result<double> { return fail(ErrorCode::kInternal, "died"); });
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message, "died");
}

TEST(Peak, TheEstimateComesFromTheCpuTimeOfAFrame) {
  // 55 % of a core for 20 frames a second is 27.5 ms a frame; two cores make 72.7 of them in 1 s.
  Report report = made_report({made_run(2, 10, 3, 1)});
  EXPECT_NEAR(estimate_peak(report), 0.9 * 2000 / 27.5 / 2, 1e-6);
  // At an overload: what came out, 20 a second.
  RunResult flooded = made_run(2, 10, 3, 1);
  flooded.cameras[0].offered = 300;
  EXPECT_NEAR(estimate_peak(made_report({flooded})), 10, 1e-6);
  EXPECT_EQ(estimate_peak(Report()), 0);
}

}  // namespace
}  // namespace fovea::bench
