// Outages read off made-up frames with known gaps.
#include "launch/bench/chaos.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/replay/made_report.hpp"

namespace fovea::bench {
namespace {

using test::made_run;
using testing::HasSubstr;

void lose(RunResult& run, std::uint32_t camera, double from_s, double to_s) {
  std::erase_if(run.frames, [&](const FrameRecord& frame) {
    const double at = static_cast<double>(frame.due - run.begin_ns) / 1e9;
    return frame.camera == camera && at >= from_s && at < to_s;
  });
}

TEST(Outage, CountsTheGapAndTellsWhenFramesCameAgain) {
  RunResult run = made_run(1, 10, 10, 1);
  lose(run, 0, 2.0, 3.5);
  const Outage gap = outage(run, 0, 10, run.begin_ns + 1'900'000'000, run.end_ns);
  EXPECT_EQ(gap.lost, 15u);
  // The frame due at 3.5 s came after its 8 pieces of 1 ms.
  EXPECT_EQ(gap.recovered_ns, run.begin_ns + 3'508'000'000);
}

TEST(Outage, NothingLostIsNoOutage) {
  const RunResult run = made_run(1, 10, 4, 1);
  const Outage none = outage(run, 0, 10, run.begin_ns, run.end_ns);
  EXPECT_EQ(none.lost, 0u);
  EXPECT_EQ(none.recovered_ns, 0);
}

TEST(Outage, WhatDoesNotComeAgainHasNotRecovered) {
  RunResult run = made_run(2, 10, 4, 1);
  lose(run, 1, 1.0, 4.0);
  const Outage gone = outage(run, 1, 10, run.begin_ns, run.end_ns);
  EXPECT_EQ(gone.lost, 30u);
  EXPECT_EQ(gone.recovered_ns, -1);
  lose(run, 1, 0, 4.0);
  EXPECT_EQ(outage(run, 1, 10, run.begin_ns, run.end_ns).lost, 40u);
  EXPECT_EQ(outage(run, 0, 10, run.begin_ns, run.end_ns).lost, 0u);
}

TEST(Chaos, UnknownFaultsAreRefusedWithTheKnownOnes) {
  EXPECT_EQ(fault_from_name("stall").value(), FaultKind::kStall);
  EXPECT_THAT(fault_from_name("flood").error().message,
              HasSubstr("kill, stall, unplug, cache, shm"));
}

TEST(Chaos, AFaultWhoseTargetIsAbsentSaysSo) {
  Chaos chaos("no-such-domain", {FaultKind::kKill}, 1, "");
  chaos.turn(0.5);
  const RunResult run = made_run(1, 10, 2, 1);
  const auto faults = chaos.evaluate(run, 10);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].detail, "detector was not running");
}

}  // namespace
}  // namespace fovea::bench
