// The reconnect policy, state by state, on a clock that the test moves and a source that follows a
// script.
#include "nodes/camera/source_supervisor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<Grab> lost() { return fail(ErrorCode::kUnavailable, "connection reset"); }
Result<> refused() { return fail(ErrorCode::kUnavailable, "connection refused"); }

class SupervisorTest : public testing::Test {
 protected:
  SupervisorTest() { restart({}); }

  void restart(SupervisorOptions options, SourceInfo info = {.is_live = true}) {
    options.jitter = 0;
    source = std::make_unique<ScriptedSource>(info, SourceOptions{.clock = &clock});
    supervisor = std::make_unique<SourceSupervisor>(
        *source, options, [this](const SourceEvent& event) { events.push_back(event); }, clock);
    events.clear();
  }
  GrabStatus grab(Nanoseconds timeout = 1s) { return supervisor->grab(timeout, {}).status; }
  std::vector<SourceState> states() const {
    std::vector<SourceState> result;
    for (const SourceEvent& event : events) result.push_back(event.to);
    return result;
  }

  FakeClock clock;
  std::unique_ptr<ScriptedSource> source;
  std::unique_ptr<SourceSupervisor> supervisor;
  std::vector<SourceEvent> events;
};

TEST_F(SupervisorTest, ConnectsWithTheFirstFrame) {
  EXPECT_EQ(supervisor->state(), SourceState::kReconnecting);
  source->grabs = {ScriptedSource::frame()};
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_EQ(supervisor->state(), SourceState::kConnected);
  EXPECT_EQ(supervisor->counters().opens, 1u);
  EXPECT_EQ(supervisor->counters().reconnects, 0u);
  EXPECT_EQ(events.at(0).from, SourceState::kReconnecting);
}

TEST_F(SupervisorTest, PausesDoubleUpToTheCap) {
  restart({.backoff_initial = 500ms, .backoff_max = 3s});
  for (int i = 0; i < 6; ++i) source->opens.push_back(refused());
  source->grabs = {ScriptedSource::frame()};
  EXPECT_EQ(grab(60s), GrabStatus::kFrame);
  std::vector<Nanoseconds> delays;
  for (const SourceEvent& event : events) delays.push_back(event.delay);
  EXPECT_THAT(delays, ElementsAre(500ms, 1s, 2s, 3s, 3s, 3s, 0s));
  EXPECT_EQ(clock.now, 100s + 12500ms);
  EXPECT_THAT(events.at(0).reason, HasSubstr("connection refused"));
}

TEST_F(SupervisorTest, AFrameResetsThePauses) {
  restart({.backoff_initial = 1s, .backoff_max = 30s});
  source->opens = {refused(), refused(), {}, {}};
  source->grabs = {ScriptedSource::frame(), lost(), ScriptedSource::frame()};
  EXPECT_EQ(grab(60s), GrabStatus::kFrame);
  EXPECT_EQ(grab(60s), GrabStatus::kFrame);
  EXPECT_EQ(events.at(3).to, SourceState::kReconnecting);
  EXPECT_EQ(events.at(3).delay, 1s);
  EXPECT_EQ(supervisor->counters().reconnects, 1u);
}

// A peer that accepts connections but sends nothing must not be hammered.
TEST_F(SupervisorTest, OpeningWithoutAFrameCountsAsAFailedAttempt) {
  restart({.reconnect_after = 5s, .backoff_initial = 1s, .max_attempts = 3});
  while (!supervisor->finished()) grab();
  EXPECT_THAT(states(), ElementsAre(SourceState::kReconnecting, SourceState::kReconnecting,
                                    SourceState::kFailed));
  EXPECT_EQ(events.at(0).delay, 1s);
  EXPECT_EQ(events.at(1).delay, 2s);
  EXPECT_EQ(clock.now, 100s + 15s + 3s);
  EXPECT_THAT(events.back().reason, HasSubstr("attempt 3 of 3"));
}

TEST_F(SupervisorTest, SilenceStallsThenReconnects) {
  restart({.no_frame_timeout = 2s, .reconnect_after = 5s});
  source->grabs = {ScriptedSource::frame()};
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_EQ(grab(1s), GrabStatus::kTimeout);
  EXPECT_EQ(supervisor->state(), SourceState::kConnected);
  EXPECT_EQ(grab(1s), GrabStatus::kTimeout);
  EXPECT_EQ(supervisor->state(), SourceState::kStalled);
  EXPECT_EQ(events.at(1).stamp, 102s);
  EXPECT_EQ(grab(10s), GrabStatus::kTimeout);
  EXPECT_EQ(events.at(2).to, SourceState::kReconnecting);
  EXPECT_EQ(events.at(2).stamp, 105s);
  EXPECT_THAT(events.at(2).reason, HasSubstr("no frame for 5.0 s"));
  EXPECT_EQ(supervisor->counters().stalls, 1u);
  EXPECT_GE(source->open_count, 2);
}

TEST_F(SupervisorTest, AStalledSourceThatResumesIsConnectedWithoutReopening) {
  restart({.no_frame_timeout = 2s, .reconnect_after = 5s});
  source->grabs = {ScriptedSource::frame()};
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_EQ(grab(3s), GrabStatus::kTimeout);
  source->grabs = {ScriptedSource::frame()};
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_THAT(states(),
              ElementsAre(SourceState::kConnected, SourceState::kStalled, SourceState::kConnected));
  EXPECT_EQ(source->open_count, 1);
  EXPECT_EQ(supervisor->counters().reconnects, 0u);
}

TEST_F(SupervisorTest, OnlyBadFramesAreSilence) {
  restart({.no_frame_timeout = 2s, .reconnect_after = 5s});
  source->frame_interval = 1s;
  source->grabs = {ScriptedSource::frame()};
  for (int i = 0; i < 6; ++i)
    source->grabs.push_back(ScriptedSource::status(GrabStatus::kBadFrame));
  for (int i = 0; i < 6; ++i) grab();
  EXPECT_THAT(states(), ElementsAre(SourceState::kConnected, SourceState::kStalled,
                                    SourceState::kReconnecting));
}

TEST_F(SupervisorTest, TheAttemptLimitFailsForGood) {
  restart({.max_attempts = 2});
  source->opens = {refused(), refused(), {}};
  while (!supervisor->finished()) grab();
  EXPECT_EQ(supervisor->state(), SourceState::kFailed);
  EXPECT_EQ(grab(), GrabStatus::kEndOfStream);
  EXPECT_EQ(source->open_count, 2);
}

TEST_F(SupervisorTest, WhatCanNeverWorkFailsAtOnce) {
  for (const ErrorCode code : {ErrorCode::kInvalidArgument, ErrorCode::kUnsupported}) {
    restart({});
    source->opens = {fail(code, "no such format")};
    EXPECT_EQ(grab(), GrabStatus::kEndOfStream);
    EXPECT_EQ(supervisor->state(), SourceState::kFailed);
    EXPECT_THAT(events.at(0).reason, HasSubstr("no such format"));
  }
}

TEST_F(SupervisorTest, TheEndOfAFileIsNotAnError) {
  restart({}, {.is_live = false});
  source->grabs = {ScriptedSource::frame(), ScriptedSource::status(GrabStatus::kEndOfStream)};
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_EQ(grab(), GrabStatus::kEndOfStream);
  EXPECT_EQ(supervisor->state(), SourceState::kEnded);
  EXPECT_EQ(grab(), GrabStatus::kEndOfStream);
  EXPECT_EQ(source->open_count, 1);
}

TEST_F(SupervisorTest, TheEndOfALiveStreamIsALoss) {
  source->grabs = {ScriptedSource::frame(), ScriptedSource::status(GrabStatus::kEndOfStream),
                   ScriptedSource::frame()};
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_EQ(source->open_count, 2);
}

TEST_F(SupervisorTest, ASlowFileIsNotStalled) {
  restart({.no_frame_timeout = 2s, .reconnect_after = 5s}, {.is_live = false});
  source->grabs = {ScriptedSource::frame()};
  EXPECT_EQ(grab(), GrabStatus::kFrame);
  EXPECT_EQ(grab(60s), GrabStatus::kTimeout);
  EXPECT_THAT(states(), ElementsAre(SourceState::kConnected));
}

TEST_F(SupervisorTest, StopEndsAPause) {
  source->opens = {refused()};
  EXPECT_EQ(grab(0s), GrabStatus::kTimeout);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(supervisor->grab(60s, stop.get_token()).status, GrabStatus::kStopped);
}

TEST_F(SupervisorTest, ShortTimeoutsDuringAPauseKeepTheSchedule) {
  restart({.backoff_initial = 1s});
  source->opens = {refused()};
  source->grabs = {ScriptedSource::frame()};
  int timeouts = 0;
  while (grab(300ms) != GrabStatus::kFrame) ++timeouts;
  EXPECT_EQ(timeouts, 3);
  EXPECT_EQ(clock.now, 101s);
}

TEST(SupervisorJitter, ShortensWithinItsShareAndDependsOnTheSeed) {
  std::vector<Nanoseconds> delays;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    FakeClock clock;
    ScriptedSource source({.is_live = true}, {.clock = &clock});
    source.opens = {refused()};
    SourceSupervisor supervisor(
        source, {.backoff_initial = 1s, .jitter = 0.3, .seed = seed},
        [&](const SourceEvent& event) { delays.push_back(event.delay); }, clock);
    supervisor.grab(0s, {});
  }
  ASSERT_EQ(delays.size(), 8u);
  for (const Nanoseconds delay : delays) {
    EXPECT_GT(delay, 700ms - 1ns);
    EXPECT_LE(delay, 1s);
  }
  std::sort(delays.begin(), delays.end());
  EXPECT_EQ(std::unique(delays.begin(), delays.end()), delays.end());
}

TEST(SourceStateNames, AreTheOnesThatUsersSee) {
  EXPECT_EQ(to_string(SourceState::kConnected), "connected");
  EXPECT_EQ(to_string(SourceState::kStalled), "stalled");
  EXPECT_EQ(to_string(SourceState::kReconnecting), "reconnecting");
  EXPECT_EQ(to_string(SourceState::kFailed), "failed");
  EXPECT_EQ(to_string(SourceState::kEnded), "ended");
}

}  // namespace
}  // namespace fovea::frames
