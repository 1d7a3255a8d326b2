// What the supervisor does with nodes that crash, hang, refuse to stop or cannot start, and in
// which order it starts and stops those that behave. Real processes (fake_node.cpp); every wait is
// for a condition.
#include <chrono>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "tests/launch/supervisor_fixture.hpp"

namespace fovea::launch {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(SupervisorTest, StartsWhatIsDependedOnFirstAndStopsItLast) {
  const std::string file = domain_.root() / "events";
  const std::vector<NameValue> noted{{"event_file", file}};
  run({fake("camera", noted, {"middle"}), fake("middle", noted, {"sink"}), fake("sink", noted)},
      [this] { stop_when_active(); });
  EXPECT_THAT(lines_of(file), ElementsAre("sink start", "middle start", "camera start",
                                          "camera stop", "middle stop", "sink stop"));
  EXPECT_EQ(error_, "");
  EXPECT_EQ(node("middle").phase, Phase::kStopped);
}

TEST_F(SupervisorTest, WaitsForFramesInFlightBeforeItStopsTheReceiver) {
  // Falls by one at every look, so the sink may only be stopped after the tenth.
  std::uint64_t left = 10;
  bool sink_stopped_early = false;
  in_flight_ = [&] {
    for (const NodeReport& report : supervisor_->report()) {
      if (report.name == "sink" && report.phase != Phase::kActive && left > 0)
        sink_stopped_early = true;
    }
    return left > 0 ? left-- : 0;
  };
  run({fake("camera", {}, {"sink"}), fake("sink")}, [this] { stop_when_active(); });
  EXPECT_EQ(left, 0u);
  EXPECT_FALSE(sink_stopped_early);
}

TEST_F(SupervisorTest, GivesUpOnFramesThatNeverArrive) {
  in_flight_ = [] { return std::uint64_t{3}; };
  run({fake("camera", {}, {"sink"}), fake("sink")}, [this] { stop_when_active(); });
  EXPECT_EQ(node("sink").phase, Phase::kStopped);
}

TEST_F(SupervisorTest, RestartsWhatCrashesUntilItRuns) {
  NodeAction action = fake("shaky", {{"crash_starts", "2"}});
  action.respawn = true;
  run({action}, [this] { stop_when_active(); });
  EXPECT_EQ(node("shaky").restarts, 2u);
  EXPECT_EQ(node("shaky").phase, Phase::kStopped);
  EXPECT_EQ(error_, "");
  EXPECT_THAT(events_, Contains(AllOf(HasSubstr("signal 6"), HasSubstr("restart in"))));
}

TEST_F(SupervisorTest, BacksOffLongerEachTime) {
  NodeAction action = fake("broken", {{"crash_starts", "100"}});
  action.respawn = true;
  action.respawn_delay = Seconds(0.1);
  action.respawn_max_retries = 3;
  run({action});
  EXPECT_THAT(events_, Contains(HasSubstr("restart in 0.1 s")));
  EXPECT_THAT(events_, Contains(HasSubstr("restart in 0.2 s")));
  EXPECT_THAT(events_, Contains(HasSubstr("restart in 0.4 s")));
  EXPECT_EQ(node("broken").restarts, 3u);
  EXPECT_EQ(node("broken").phase, Phase::kFailed);
  EXPECT_THAT(error_, AllOf(HasSubstr("test.yaml:1: node `broken`"),
                            HasSubstr("after 3 restarts within a minute")));
}

TEST_F(SupervisorTest, DoesNotRestartWhatNeedNotBe) {
  run({fake("shaky", {{"crash_starts", "1"}})});
  EXPECT_EQ(node("shaky").restarts, 0u);
  EXPECT_EQ(node("shaky").phase, Phase::kFailed);
}

TEST_F(SupervisorTest, ShowsTheErrorOfWrongParametersAndDoesNotTryAgain) {
  NodeAction action = fake("typo", {{"behavior", "none"}});
  action.respawn = true;
  action.respawn_max_retries = -1;
  run({action, fake("other")});
  EXPECT_EQ(node("typo").restarts, 0u);
  EXPECT_EQ(node("other").phase, Phase::kStopped)
      << "a launch that cannot start leaves nothing running";
  EXPECT_THAT(error_, AllOf(HasSubstr("exited with code 2"), HasSubstr("behavior"),
                            HasSubstr("behaviour")));
}

TEST_F(SupervisorTest, PassesOnWhyConfiguringFailed) {
  run({fake("cam0", {{"behaviour", "fail_configure"}})});
  EXPECT_THAT(error_, AllOf(HasSubstr("exited with code 1"), HasSubstr("the lens cap is on")));
}

TEST_F(SupervisorTest, KillsWhatHangsWhileItStarts) {
  NodeAction action = fake("stuck", {{"behaviour", "hang_configure"}});
  action.start_timeout = Seconds(0.3);
  run({action});
  EXPECT_THAT(error_, HasSubstr("did not become active within 0.3 s"));
}

TEST_F(SupervisorTest, LetsASlowStartGoOnWhileItsHeartBeats) {
  NodeAction action = fake("builder", {{"behaviour", "slow_configure"}});
  action.start_timeout = Seconds(1);
  run({action}, [this] { stop_when_active(); });
  EXPECT_EQ(error_, "");
  EXPECT_EQ(node("builder").restarts, 0u);
}

TEST_F(SupervisorTest, RestartsWhatHangsWhileItRuns) {
  NodeAction action = fake("frozen", {{"hang_starts", "1"}});
  action.heartbeat_timeout = Seconds(0.6);
  action.respawn = true;
  run({action}, [this] {
    const NodeReport report = supervisor_->report().front();
    if (report.restarts >= 1) stop_when_active();
  });
  EXPECT_THAT(events_, Contains(HasSubstr("gave no heartbeat for 0.6 s")));
  EXPECT_EQ(node("frozen").phase, Phase::kStopped);
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorTest, ClimbsTheLadderUntilTheNodeEnds) {
  NodeAction action = fake("deaf", {{"behaviour", "deaf"}});
  action.sigterm_timeout = Seconds(0.1);
  action.sigkill_timeout = Seconds(0.1);
  run({action}, [this] { stop_when_active(); });
  EXPECT_THAT(events_, Contains(HasSubstr("deaf did not end after SIGINT; sending SIGTERM")));
  EXPECT_THAT(events_, Contains(HasSubstr("deaf did not end after SIGTERM; sending SIGKILL")));
  EXPECT_EQ(node("deaf").phase, Phase::kStopped);
}

TEST_F(SupervisorTest, AThirdStopKillsAtOnce) {
  NodeAction action = fake("deaf", {{"behaviour", "deaf"}});
  action.sigterm_timeout = Seconds(3600);
  action.sigkill_timeout = Seconds(3600);
  run({action}, [this] {
    if (supervisor_->all_active()) {
      supervisor_->stop();
      supervisor_->stop();
      supervisor_->stop();
    }
  });
  EXPECT_EQ(node("deaf").phase, Phase::kStopped);
}

TEST_F(SupervisorTest, StopsCleanlyWhileItStarts) {
  NodeAction stuck = fake("stuck", {{"behaviour", "hang_configure"}});
  stuck.sigterm_timeout = stuck.sigkill_timeout = Seconds(0.1);
  run({fake("camera", {}, {"stuck"}), stuck}, [this] {
    if (supervisor_->report()[1].pid != 0 && !supervisor_->stopping()) supervisor_->stop();
  });
  EXPECT_EQ(node("camera").phase, Phase::kStopped);
  EXPECT_EQ(node("camera").restarts, 0u);
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorTest, EndsWhenItsSourcesHaveFinished) {
  run({fake("camera", {{"behaviour", "finish"}}, {"sink"}), fake("sink")});
  EXPECT_EQ(node("camera").phase, Phase::kFinished);
  EXPECT_EQ(node("sink").phase, Phase::kStopped);
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorTest, ANodeThatAnOutsideSignalEndsIsRestartedWhateverTheSignal) {
  const std::vector<int> signals{SIGTERM, SIGINT,  SIGHUP,  SIGQUIT, SIGUSR1,
                                 SIGUSR2, SIGALRM, SIGKILL, SIGABRT};
  NodeAction action = fake("cam0");
  action.respawn = true;
  action.respawn_delay = Seconds(0);
  std::size_t sent = 0;
  run({action}, [&] {
    const NodeReport report = supervisor_->report().front();
    if (report.restarts != sent || report.phase != Phase::kActive) return;
    sent == signals.size() ? stop_when_active() : void(kill(report.pid, signals[sent++]));
  });
  EXPECT_EQ(node("cam0").restarts, signals.size());
  EXPECT_EQ(node("cam0").phase, Phase::kStopped);
  EXPECT_EQ(error_, "");
  EXPECT_THAT(events_, Contains(HasSubstr("cam0 ended without being asked; restart in")));
}

TEST_F(SupervisorTest, ANodeThatAnOutsideSignalEndsFailsTheLaunchWithoutRespawn) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    bool sent = false;
    run({fake("camera", {}, {"sink"}), fake("sink")}, [&] {
      if (!sent && supervisor_->all_active())
        sent = kill(supervisor_->report()[0].pid, signal) == 0;
    });
    EXPECT_EQ(node("camera").phase, Phase::kFailed) << signal;
    EXPECT_THAT(error_, HasSubstr("node `camera` ended without being asked")) << signal;
  }
}

TEST_F(SupervisorTest, RetriesCountOnlyRunsThatDidNotWork) {
  NodeAction action = fake("cam0");
  action.respawn = true;
  action.respawn_max_retries = 1;
  std::int64_t since_ns = 0;
  std::uint64_t killed = 0;
  run({action}, [&] {
    const NodeReport report = supervisor_->report().front();
    if (report.restarts != killed || report.phase != Phase::kActive) return;
    if (since_ns == 0) since_ns = monotonic_ns();
    if (killed == 3) return stop_when_active();
    if (monotonic_ns() - since_ns < 1'200'000'000) return;  // it works for a while
    since_ns = 0;
    ++killed;
    kill(report.pid, SIGKILL);
  });
  EXPECT_EQ(node("cam0").restarts, 3u);
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorTest, ANodeThatDiesWhileTheOthersDrainDoesNotHoldUpTheEnd) {
  bool killed = false;
  std::uint64_t frames = 1'000'000;
  in_flight_ = [&] { return killed ? 0 : --frames; };  // drains until the receiver is dead
  NodeAction sink = fake("sink");
  sink.respawn = true;
  run({fake("camera", {}, {"sink"}), sink}, [&] {
    stop_when_active();
    const std::vector<NodeReport> nodes = supervisor_->report();
    if (!killed && nodes[0].phase == Phase::kStopped) killed = kill(nodes[1].pid, SIGKILL) == 0;
  });
  EXPECT_TRUE(killed);
  EXPECT_EQ(node("sink").phase, Phase::kStopped);
  EXPECT_EQ(node("sink").restarts, 0u);
}

TEST_F(SupervisorTest, GoesOnWithoutOneCameraButNotWithoutTheDetector) {
  int killed = 0;
  run({fake("cam0", {}, {"detector"}), fake("cam1", {}, {"detector"}), fake("detector")}, [&] {
    const std::vector<NodeReport> nodes = supervisor_->report();
    if (killed == 0 && supervisor_->all_active()) {
      kill(nodes[0].pid, SIGKILL);
      killed = 1;
    } else if (killed == 1 && nodes[0].phase == Phase::kFailed) {
      EXPECT_FALSE(supervisor_->stopping());
      EXPECT_EQ(nodes[1].phase, Phase::kActive);
      kill(nodes[2].pid, SIGKILL);
      killed = 2;
    }
  });
  EXPECT_EQ(killed, 2);
  EXPECT_EQ(node("cam1").phase, Phase::kStopped);
  EXPECT_EQ(node("detector").phase, Phase::kFailed);
}

TEST_F(SupervisorTest, LeavesNoHelperOfADeadNodeBehind) {
  pid_t helper = 0;
  run({fake("builder", {{"behaviour", "with_helper"}})}, [&] {
    const auto reader = MetricsReader::open(*domain_, "builder");
    if (reader) helper = static_cast<pid_t>((*reader)->value("helper_pid"));
    if (helper != 0) kill(supervisor_->report().front().pid, SIGKILL);
  });
  ASSERT_GT(helper, 0);
  // The helper's new parent (init) may take a moment to reap it.
  const auto deadline = std::chrono::steady_clock::now() + kWatchdog;
  const auto runs = [&] {
    std::ifstream stat("/proc/" + std::to_string(helper) + "/stat");
    std::string word;
    for (int i = 0; i < 3 && stat >> word; ++i) continue;
    return !word.empty() && word != "Z" && word != "X";
  };
  while (runs() && std::chrono::steady_clock::now() < deadline) usleep(1000);
  EXPECT_FALSE(runs());
}

TEST_F(SupervisorTest, FailsWhenTheProgramCannotBeRun) {
  NodeAction action = fake("ghost");
  action.executable = domain_.root() / "none";
  run({action});
  EXPECT_THAT(error_, HasSubstr("No such file"));
}

}  // namespace
}  // namespace fovea::launch
