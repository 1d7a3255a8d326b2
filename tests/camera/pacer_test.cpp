// Deadlines: computed on a clock that the test moves, so nothing here depends on how fast the
// machine is.
#include "nodes/camera/pacer.hpp"

#include <limits>
#include <thread>

#include <gtest/gtest.h>

#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

TEST(Pacer, DeadlinesDoNotDriftWhenTheConsumerIsLate) {
  FakeClock clock;
  Pacer pacer(30, clock);
  const Nanoseconds start = clock.now;
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(pacer.wait(1s, {}), WaitResult::kDue);
    clock.now += 7ms;  // work of the consumer
  }
  ASSERT_EQ(clock.deadlines.size(), 2999u);  // the first frame is due at once
  for (std::size_t i = 0; i < clock.deadlines.size(); ++i) {
    const double exact = static_cast<double>(i + 1) / 30 * 1e9;
    ASSERT_NEAR(static_cast<double>((clock.deadlines[i] - start).count()), exact, 1) << i;
  }
}

TEST(Pacer, TimeoutShorterThanThePeriodKeepsTheDeadline) {
  FakeClock clock;
  Pacer pacer(1, clock);
  const Nanoseconds start = clock.now;
  ASSERT_EQ(pacer.wait(0s, {}), WaitResult::kDue);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(pacer.wait(300ms, {}), WaitResult::kTimeout);
  ASSERT_EQ(pacer.wait(300ms, {}), WaitResult::kDue);
  EXPECT_EQ(clock.now, start + 1s);
}

TEST(Pacer, ALongPauseRestartsTheGridInsteadOfReleasingABurst) {
  FakeClock clock;
  Pacer pacer(10, clock);
  ASSERT_EQ(pacer.wait(1s, {}), WaitResult::kDue);
  clock.now += 60s;
  const Nanoseconds resumed = clock.now;
  ASSERT_EQ(pacer.wait(1s, {}), WaitResult::kDue);
  EXPECT_EQ(clock.now, resumed);
  ASSERT_EQ(pacer.wait(1s, {}), WaitResult::kDue);
  EXPECT_EQ(clock.now, resumed + 100ms);
  EXPECT_EQ(pacer.skipped(), 599u);  // due at 0.1 s ... 59.9 s; the one at 60 s is given
}

TEST(Pacer, PhasesKeepTheirDistanceWhateverTheStart) {
  FakeClock clock;
  clock.now = 100s + 12ms;
  Pacer early(10, clock, 0.0);
  Pacer late(10, clock, 0.25);
  ASSERT_EQ(late.wait(1s, {}), WaitResult::kDue);
  EXPECT_EQ(late.due(), 100s + 25ms);
  ASSERT_EQ(early.wait(1s, {}), WaitResult::kDue);
  EXPECT_EQ(early.due(), 100s + 100ms);
  clock.now += 10s + 30ms;  // paused: the grid begins anew and stays in phase
  ASSERT_EQ(late.wait(1s, {}), WaitResult::kDue);
  EXPECT_EQ(late.due(), 110s + 225ms);
  EXPECT_EQ(late.skipped(), 101u);  // due at 100.125 s ... 110.125 s
}

TEST(Pacer, UnlimitedRatesNeverSleep) {
  FakeClock clock;
  for (const double rate : {0.0, std::numeric_limits<double>::infinity()}) {
    Pacer pacer(rate, clock);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(pacer.wait(1s, {}), WaitResult::kDue);
  }
  EXPECT_TRUE(clock.deadlines.empty());
}

TEST(Pacer, LowerRateOfALiveSourceSurvivesJitter) {
  FakeClock clock;
  Pacer pacer(10, clock);
  int kept = 0;
  for (int i = 0; i < 300; ++i) {  // 30 Hz, every other frame 3 ms early
    clock.now = 100s + Nanoseconds(i * 1'000'000'000ll / 30) - (i % 2 == 1 ? 3ms : 0ms);
    kept += pacer.admit(16ms) ? 1 : 0;
  }
  EXPECT_EQ(kept, 100);
}

TEST(MachineClock, AStopRequestEndsAWaitOfAYear) {
  std::stop_source stop;
  bool reached = true;
  std::jthread waiter([&] {
    reached =
        machine_clock().sleep_until(machine_clock().monotonic() + 24h * 365, stop.get_token());
  });
  stop.request_stop();
  waiter.join();
  EXPECT_FALSE(reached);
}

TEST(MachineClock, ADeadlineInThePastReturnsAtOnce) {
  EXPECT_TRUE(machine_clock().sleep_until(machine_clock().monotonic() - 1s, {}));
}

TEST(DeadlineAfter, ForEverDoesNotOverflow) {
  EXPECT_GT(deadline_after(100s, Nanoseconds::max()), Nanoseconds(100s));
  EXPECT_EQ(deadline_after(100s, -5s), Nanoseconds(100s));
}

// The base class around a scripted live source.
TEST(FrameSourcePacing, LiveSourceDropsAndCountsWhatTheRateDoesNotAllow) {
  FakeClock clock;
  SourceInfo info;
  info.is_live = true;
  info.fps = 30;
  ScriptedSource source(info, {.rate = 10, .clock = &clock});
  source.frame_interval = Nanoseconds(1'000'000'000ll / 30);
  for (int i = 0; i < 30; ++i) source.grabs.push_back(ScriptedSource::frame());
  ASSERT_TRUE(source.open());
  int frames = 0;
  while (source.grab(1s)->status == GrabStatus::kFrame) ++frames;
  EXPECT_EQ(frames, 10);
  EXPECT_EQ(source.counters().frames, 10u);
  EXPECT_EQ(source.counters().rate_skipped, 20u);
}

TEST(FrameSourcePacing, SizeChangeIsKnownBeforeRetrieve) {
  FakeClock clock;
  ScriptedSource source({}, {.clock = &clock});
  source.grabs = {ScriptedSource::frame(64, 48), ScriptedSource::frame(32, 16)};
  ASSERT_TRUE(source.open());
  EXPECT_EQ(source.grab(1s)->frame.width, 64u);
  EXPECT_EQ(source.grab(1s)->frame.width, 32u);
}

TEST(FrameSourcePacing, StampsComeFromTheClock) {
  FakeClock clock;
  ScriptedSource source({}, {.clock = &clock});
  source.grabs = {ScriptedSource::frame()};
  ASSERT_TRUE(source.open());
  const auto grab = source.grab(1s);
  EXPECT_EQ(grab->frame.stamp_monotonic, clock.monotonic().count());
  EXPECT_EQ(grab->frame.stamp_realtime, clock.realtime().count());
}

// A player that stamps late frames with the time at which it got round to them hides its delay.
TEST(FrameSourcePacing, LateFramesCarryTheInstantAtWhichTheyWereDue) {
  FakeClock clock;
  ScriptedSource source({}, {.rate = 10, .clock = &clock});
  for (int i = 0; i < 3; ++i) source.grabs.push_back(ScriptedSource::frame());
  ASSERT_TRUE(source.open());
  const Nanoseconds start = clock.now;
  const Nanoseconds real_start = clock.realtime();
  for (int i = 0; i < 3; ++i) {
    const auto grab = source.grab(1s);
    ASSERT_EQ(grab->status, GrabStatus::kFrame);
    EXPECT_EQ(grab->frame.stamp_monotonic, (start + i * 100ms).count());
    EXPECT_EQ(grab->frame.stamp_realtime, (real_start + i * 100ms).count());
    clock.now += 350ms;  // the consumer blocks
  }
  EXPECT_EQ(source.counters().deadlines_skipped, 0u);
}

TEST(FrameSourcePacing, GrabbingAClosedSourceIsAnError) {
  ScriptedSource source({}, {});
  EXPECT_EQ(source.grab(1s).error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace fovea::frames
