// What a running launch does when it is asked to change, with real processes.
#include "launch/supervision/control_requests.hpp"

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/launch/supervisor_fixture.hpp"

namespace fovea::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ControlRequestsTest : public SupervisorTest {
 protected:
  ControlRequests& requests(std::chrono::milliseconds patience = std::chrono::hours(1)) {
    if (!requests_) requests_.emplace(executor_, *domain_, *supervisor_, LoadOptions{}, patience);
    return *requests_;
  }
  void ask(const std::string& line) {
    requests().handle(
        line, [this](const std::string& reply) { replies_.push_back(parse_reply(reply).value()); });
  }
  void end() {
    requests_.reset();
    supervisor_->stop();
  }
  bool at_rest() const {
    return supervisor_ && !supervisor_->stopping() && !supervisor_->changing() &&
           supervisor_->all_active();
  }
  // A program that answers nothing when it is asked about its parameters.
  std::string silent_program() const {
    const auto file = domain_.root() / "silent";
    std::ofstream(file) << "#!/bin/sh\nexec sleep 1000\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return file;
  }

  std::optional<ControlRequests> requests_;
  std::vector<ControlReply> replies_;
  int turn_ = 0;
};

TEST_F(ControlRequestsTest, NodesAreWatchedWhileAProgramIsAskedAboutItsParameters) {
  NodeAction cam0 = fake("cam0");
  cam0.respawn = true;
  run({cam0}, [&] {
    if (!at_rest()) return;
    if (turn_ == 0) {
      ask(R"({"version":1,"op":"add_node","entry":"node: {exec: )" + silent_program() +
          R"(, name: silent}"})");
      kill(supervisor_->report()[0].pid, SIGKILL);
      turn_ = 1;
    } else if (supervisor_->report()[0].restarts == 1) {
      EXPECT_TRUE(replies_.empty()) << "the program is still being asked";
      ask(R"({"version":1,"op":"list"})");
      ASSERT_EQ(replies_.size(), 1u) << "who only asks need not wait";
      EXPECT_EQ(replies_[0].nodes.size(), 1u);
      end();
    }
  });
  EXPECT_EQ(node("cam0").restarts, 1u);
  EXPECT_EQ(error_, "");
}

TEST_F(ControlRequestsTest, AProgramThatDoesNotAnswerIsNamedInTheReply) {
  const std::string program = silent_program();
  run({fake("cam0")}, [&] {
    if (!supervisor_ || supervisor_->stopping()) return;
    if (turn_ == 0 && at_rest()) {
      requests(std::chrono::milliseconds(50));
      ask(R"({"version":1,"op":"add_node","entry":"node: {exec: )" + program +
          R"(, name: silent, sigterm_timeout: 0.1}"})");
      turn_ = 1;
    } else if (!replies_.empty()) {
      EXPECT_EQ(replies_[0].error, "");
      EXPECT_THAT(replies_[0].started, ElementsAre("silent"));
      EXPECT_THAT(replies_[0].warnings,
                  ElementsAre(HasSubstr("node `silent` did not answer --check-params")));
      end();
    }
  });
}

TEST_F(ControlRequestsTest, ChangesAreMadeOneAfterTheOtherInTheirOrder) {
  run({fake("cam0", {}, {"sink"}), fake("sink")}, [&] {
    if (!at_rest()) return;
    if (turn_++ == 0) {
      const std::string set = R"({"version":1,"op":"set_parameter","node":"sink",)"
                              R"("parameter":"address","value":)";
      ask(set + R"("a://1"})");
      ask(set + R"("nowhere"})");
      ask(R"({"version":1,"op":"remove_node","nodes":["cam0"]})");
      ask(R"({"version":1,"op":"set_parameter","node":"cam0","parameter":"address","value":""})");
      return;
    }
    if (replies_.size() < 4) return;
    EXPECT_THAT(replies_[0].restarted, ElementsAre("sink"));
    EXPECT_EQ(replies_[1].error, "node `sink`: set_parameter: address: 'nowhere' has no scheme");
    EXPECT_THAT(replies_[2].stopped, ElementsAre("cam0"));
    EXPECT_THAT(replies_[3].error, HasSubstr("no node `cam0`"));
    EXPECT_EQ(supervisor_->graph().nodes[0].parameters,
              (std::vector<NameValue>{{"address", "a://1"}}));
    end();
  });
  EXPECT_EQ(replies_.size(), 4u);
  EXPECT_EQ(error_, "");
}

TEST_F(ControlRequestsTest, WhatIsAskedWhileTheLaunchEndsIsRefused) {
  run({fake("cam0")}, [&] {
    if (!at_rest()) return;
    requests();
    supervisor_->stop();
    ask(R"({"version":1,"op":"remove_node","nodes":["cam0"]})");
    ASSERT_EQ(replies_.size(), 1u);
    EXPECT_EQ(replies_[0].error, "the launch is ending");
    requests_.reset();
  });
}

}  // namespace
}  // namespace fovea::launch
