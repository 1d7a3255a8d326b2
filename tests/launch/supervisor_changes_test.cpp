// How a running graph becomes another: what starts, ends and runs on, and what is refused. Real
// processes; every wait is for a condition.
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "nodes/runtime/figures/metrics.hpp"
#include "tests/launch/supervisor_fixture.hpp"

namespace fovea::launch {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SupervisorChangesTest : public SupervisorTest {
 protected:
  std::map<std::string, NodeReport> now() const {
    std::map<std::string, NodeReport> nodes;
    for (const NodeReport& report : supervisor_->report()) nodes[report.name] = report;
    return nodes;
  }
  static NodeAction other_program(const std::string& name) {
    NodeAction action = fake(name);
    action.executable = "/bin/true";
    return action;
  }
  // Nothing ends any more and everything that should run is active.
  bool at_rest() const { return !supervisor_->changing() && supervisor_->all_active(); }
  Result<GraphDifference> apply(std::vector<NodeAction> nodes) {
    Graph graph;
    graph.nodes = std::move(nodes);
    return supervisor_->apply(std::move(graph));
  }
  int turn_ = 0;
};

TEST_F(SupervisorChangesTest, ANewNodeStartsAndTheOthersRunOn) {
  int pid = 0;
  run({fake("sink")}, [&] {
    if (!at_rest() || supervisor_->stopping()) return;
    if (turn_ == 0) {
      pid = now()["sink"].pid;
      const auto change =
          apply({fake("camera", {}, {"middle"}), fake("middle", {}, {"sink"}), fake("sink")});
      ASSERT_TRUE(change) << change.error().message;
      EXPECT_THAT(change->started, ElementsAre("middle", "camera"));
      turn_ = 1;
    } else {
      EXPECT_EQ(now()["sink"].pid, pid);
      EXPECT_EQ(now()["camera"].phase, Phase::kActive);
      supervisor_->stop();
    }
  });
  EXPECT_EQ(node("camera").phase, Phase::kStopped);
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorChangesTest, NodesThatAreGoneEndInOrderAndTheLaunchGoesOn) {
  const std::string file = domain_.root() / "events";
  const std::vector<NameValue> noted{{"event_file", file}};
  run({fake("camera", noted, {"middle"}), fake("middle", noted, {"sink"}), fake("sink", noted)},
      [&] {
        if (!at_rest() || supervisor_->stopping()) return;
        if (turn_++ == 0) {
          const auto change = apply({fake("sink", noted)});
          ASSERT_TRUE(change) << change.error().message;
          EXPECT_THAT(change->stopped, ElementsAre("camera", "middle"));
          EXPECT_TRUE(supervisor_->removed().contains("camera"));
          return;
        }
        EXPECT_EQ(now().size(), 1u);
        EXPECT_EQ(now()["sink"].phase, Phase::kActive);
        EXPECT_THAT(lines_of(file), ElementsAre("sink start", "middle start", "camera start",
                                                "camera stop", "middle stop"));
        supervisor_->stop();
      });
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorChangesTest, ANodeThatIsGoneWaitsForFramesOnTheirWayToIt) {
  std::uint64_t left = 10;
  bool middle_ended_early = false;
  in_flight_ = [&] {
    middle_ended_early |= now()["middle"].phase != Phase::kActive && left > 0;
    return left > 0 ? left-- : 0;
  };
  run({fake("camera", {}, {"middle"}), fake("middle", {}, {"sink"}), fake("sink")}, [&] {
    if (!at_rest() || supervisor_->stopping()) return;
    if (turn_++ > 0) return supervisor_->stop();
    ASSERT_TRUE(apply({fake("sink")}));
  });
  EXPECT_EQ(left, 0u);
  EXPECT_FALSE(middle_ended_early);
}

TEST_F(SupervisorChangesTest, AChangedNodeStartsAnewWhileItsDependentsStayUp) {
  std::map<std::string, NodeReport> before;
  const std::string file = domain_.root() / "events";
  run({fake("camera", {}, {"sink"}), fake("sink")}, [&] {
    if (!at_rest() || supervisor_->stopping()) return;
    if (turn_++ == 0) {
      before = now();
      const auto change =
          apply({fake("camera", {}, {"sink"}), fake("sink", {{"event_file", file}})});
      ASSERT_TRUE(change) << change.error().message;
      EXPECT_THAT(change->restarted, ElementsAre("sink"));
      return;
    }
    EXPECT_EQ(now()["camera"].pid, before["camera"].pid);
    EXPECT_NE(now()["sink"].pid, before["sink"].pid);
    EXPECT_THAT(lines_of(file), ElementsAre("sink start")) << "it has its new parameter";
    supervisor_->stop();
  });
  EXPECT_EQ(node("sink").restarts, 0u);
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorChangesTest, RestartCountersAreKept) {
  NodeAction action = fake("cam0");
  action.respawn = true;
  run({action}, [&] {
    if (!at_rest() || supervisor_->stopping()) return;
    if (turn_ == 0 && now()["cam0"].restarts == 0) return void(kill(now()["cam0"].pid, SIGKILL));
    action.respawn_max_retries = 5;
    if (turn_ == 1) action.parameters = {{"address", "a://b"}};
    if (turn_++ == 2) return supervisor_->stop();
    ASSERT_TRUE(apply({action}));
  });
  EXPECT_EQ(node("cam0").restarts, 1u);
}

TEST_F(SupervisorChangesTest, OtherSupervisionTakesEffectWithoutARestart) {
  int pid = 0;
  NodeAction action = fake("deaf", {{"behaviour", "deaf"}});
  action.sigterm_timeout = action.sigkill_timeout = Seconds(3600);
  action.heartbeat_timeout = Seconds(3600);
  run({action}, [&] {
    if (!at_rest() || supervisor_->stopping()) return;
    if (turn_++ == 0) {
      pid = now()["deaf"].pid;
      action.sigterm_timeout = action.sigkill_timeout = Seconds(0.1);
      const auto change = apply({action});
      ASSERT_TRUE(change) << change.error().message;
      EXPECT_THAT(change->adjusted, ElementsAre("deaf"));
      return;
    }
    EXPECT_EQ(now()["deaf"].pid, pid);
    supervisor_->stop();
  });
  EXPECT_EQ(node("deaf").phase, Phase::kStopped) << "the new timeouts climb the ladder";
}

TEST_F(SupervisorChangesTest, ABadGraphIsRefusedWholeAndChangesNothing) {
  run({fake("camera", {}, {"sink"}), fake("sink")}, [&] {
    if (!at_rest() || supervisor_->stopping()) return;
    const auto before = now();
    for (const auto& [bad, message] : std::vector<std::pair<std::vector<NodeAction>, const char*>>{
             {{fake("camera", {}, {"sink"}), fake("new")},
              "depends on `sink`, which does not exist"},
             {{fake("camera", {}, {"sink"}), fake("sink", {}, {"camera"})}, "waits for it in turn"},
             {{fake("sink"), fake("sink")}, "already used"},
             {{fake("camera", {}, {"sink"}), other_program("sink")}, "choose another one"}}) {
      const auto change = apply(bad);
      ASSERT_FALSE(change);
      EXPECT_THAT(change.error().message, HasSubstr(message));
    }
    EXPECT_FALSE(supervisor_->changing());
    for (const auto& [name, report] : now()) EXPECT_EQ(report.pid, before.at(name).pid);
    EXPECT_EQ(supervisor_->graph().nodes.size(), 2u);
    supervisor_->stop();
  });
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorChangesTest, ANodeThatCannotStartFailsAloneAndCanBeMended) {
  const NodeAction broken = fake("broken", {{"behaviour", "fail_configure"}}, {"sink"});
  const NodeAction waiting = fake("waiting", {}, {"broken"});
  run({fake("sink")}, [&] {
    if (supervisor_->changing() || !supervisor_->settled() || supervisor_->stopping()) return;
    if (turn_ == 0) {
      ASSERT_TRUE(apply({fake("sink"), broken, waiting}));
    } else if (turn_ == 1) {
      EXPECT_EQ(now()["broken"].phase, Phase::kFailed);
      EXPECT_EQ(now()["waiting"].phase, Phase::kWaiting);
      EXPECT_EQ(now()["sink"].phase, Phase::kActive);
      EXPECT_THAT(supervisor_->error(), HasSubstr("the lens cap is on"));
      ASSERT_TRUE(apply({fake("sink"), fake("broken", {}, {"sink"}), waiting}));
    } else {
      EXPECT_TRUE(supervisor_->all_active());
      supervisor_->stop();
    }
    ++turn_;
  });
  EXPECT_EQ(turn_, 3);
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorChangesTest, ALeafThatLeavesOnRequestDoesNotEndTheLaunch) {
  run({fake("cam0", {{"behaviour", "finish"}}, {"sink"}), fake("cam1", {}, {"sink"}), fake("sink")},
      [&] {
        if (supervisor_->changing() || !supervisor_->settled() || supervisor_->stopping()) return;
        if (now()["cam0"].phase != Phase::kFinished) return;
        if (turn_++ == 0) {
          ASSERT_TRUE(apply({fake("cam0", {{"behaviour", "finish"}}, {"sink"}), fake("sink")}));
          return;
        }
        EXPECT_EQ(now()["sink"].phase, Phase::kActive);
        supervisor_->stop();
      });
  EXPECT_EQ(turn_, 2);
}

TEST_F(SupervisorChangesTest, OnlyWhoIsAddedJoinsLateAndNotOnceItHasWorked) {
  const auto late = [this](const std::string& name) {
    return (*MetricsReader::open(*domain_, name))->value("joins_late");
  };
  NodeAction added = fake("added", {{"crash_starts", "1"}});  // before it was ever active
  added.respawn = true;
  run({fake("old")}, [&] {
    if (!at_rest() || supervisor_->stopping()) return;
    if (turn_ == 0) {
      EXPECT_EQ(late("old"), 0u);
      ASSERT_TRUE(apply({fake("old"), added}));
    } else if (turn_ == 1) {
      EXPECT_EQ(now()["added"].restarts, 1u);
      EXPECT_EQ(late("added"), 1u);
      EXPECT_THAT(supervisor_->absent(), ::testing::IsEmpty());
      NodeAction changed = added;
      changed.parameters = {{"crash_starts", "0"}};
      ASSERT_TRUE(apply({fake("old", {{"crash_starts", "0"}}), changed}));
    } else if (turn_ == 2) {
      EXPECT_EQ(late("old"), 0u) << "what it misses while it restarts is lost";
      EXPECT_EQ(late("added"), 0u);
      ASSERT_TRUE(apply({fake("old", {{"crash_starts", "0"}})}));
      EXPECT_TRUE(supervisor_->absent().contains("added"));
    } else if (turn_ == 3) {
      ASSERT_TRUE(apply({fake("old", {{"crash_starts", "0"}}), fake("added")}));
      EXPECT_TRUE(supervisor_->absent().contains("added")) << "until it works again";
    } else {
      EXPECT_EQ(late("added"), 1u);
      supervisor_->stop();
    }
    ++turn_;
  });
  EXPECT_EQ(turn_, 5);
}

TEST_F(SupervisorChangesTest, TheLaunchEndsWhenNoNodeIsLeft) {
  run({fake("a", {}, {"b"}), fake("b")}, [&] {
    if (turn_ == 0 && at_rest()) {
      ++turn_;
      ASSERT_TRUE(apply({}));
    }
  });
  EXPECT_EQ(turn_, 1);
  EXPECT_EQ(error_, "");
  EXPECT_TRUE(ended_.empty());
}

TEST_F(SupervisorChangesTest, ANodeThatReturnsWaitsUntilItsPredecessorHasEnded) {
  NodeAction deaf = fake("a", {{"behaviour", "deaf"}});
  deaf.sigterm_timeout = deaf.sigkill_timeout = Seconds(0.2);
  deaf.heartbeat_timeout = Seconds(3600);
  int pid = 0;
  run({deaf, fake("b")}, [&] {
    if (turn_ == 0 && at_rest()) {
      pid = now()["a"].pid;
      ASSERT_TRUE(apply({fake("b")}));
      ASSERT_TRUE(apply({fake("a"), fake("b")}));
      EXPECT_EQ(now()["a"].pid, pid) << "still the one that leaves";
      EXPECT_FALSE(supervisor_->removed().contains("a"));
      ++turn_;
    } else if (turn_ == 1 && at_rest()) {
      EXPECT_NE(now()["a"].pid, pid);
      ++turn_;
      supervisor_->stop();
    }
  });
  EXPECT_EQ(turn_, 2);
  EXPECT_THAT(events_, Contains(HasSubstr("a did not end after SIGTERM; sending SIGKILL")));
  EXPECT_EQ(error_, "");
}

TEST_F(SupervisorChangesTest, AStopDuringAChangeEndsAllInOrder) {
  const std::string file = domain_.root() / "events";
  const std::vector<NameValue> noted{{"event_file", file}};
  NodeAction deaf = fake("deaf", {{"behaviour", "deaf"}}, {"middle"});
  deaf.sigterm_timeout = deaf.sigkill_timeout = Seconds(0.2);
  deaf.heartbeat_timeout = Seconds(3600);
  run({deaf, fake("middle", noted, {"sink"}), fake("sink", noted)}, [&] {
    if (!at_rest() || turn_++ > 0) return;
    const auto change = apply({fake("new", noted, {"sink"}), fake("sink", noted)});
    ASSERT_TRUE(change) << change.error().message;
    supervisor_->stop();
    EXPECT_FALSE(apply({fake("sink", noted)})) << "the launch is ending";
  });
  EXPECT_THAT(lines_of(file), AllOf(Contains("middle stop"), Contains("sink stop")));
  EXPECT_EQ(lines_of(file).back(), "sink stop");
  EXPECT_EQ(error_, "");
}

}  // namespace
}  // namespace fovea::launch
