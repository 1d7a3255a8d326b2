#include "nodes/runtime/process/lifecycle.hpp"

#include <array>
#include <string>

#include <gtest/gtest.h>

namespace fovea {
namespace {

using State = msgs::LifecycleState;
using msgs::enum_name;

constexpr std::array kTransitions{Transition::kConfigure, Transition::kActivate,
                                  Transition::kDeactivate, Transition::kCleanup,
                                  Transition::kShutdown};

struct Row {
  State from;
  Transition transition;
  State during, on_success, on_failure;
};

// Everything that is allowed; all other pairs must be refused.
constexpr std::array kTable{Row{State::kUnconfigured, Transition::kConfigure, State::kConfiguring,
                                State::kInactive, State::kUnconfigured},
                            Row{State::kInactive, Transition::kActivate, State::kActivating,
                                State::kActive, State::kInactive},
                            Row{State::kActive, Transition::kDeactivate, State::kDeactivating,
                                State::kInactive, State::kActive},
                            Row{State::kInactive, Transition::kCleanup, State::kCleaningUp,
                                State::kUnconfigured, State::kInactive},
                            Row{State::kUnconfigured, Transition::kShutdown, State::kShuttingDown,
                                State::kFinalized, State::kFinalized},
                            Row{State::kInactive, Transition::kShutdown, State::kShuttingDown,
                                State::kFinalized, State::kFinalized},
                            Row{State::kActive, Transition::kShutdown, State::kShuttingDown,
                                State::kFinalized, State::kFinalized}};

const Row* row_of(State from, Transition transition) {
  for (const Row& row : kTable) {
    if (row.from == from && row.transition == transition) return &row;
  }
  return nullptr;
}

TEST(Lifecycle, EveryStateAndTransitionFollowsTheTable) {
  for (std::size_t s = 0; s < msgs::EnumNames<State>::kNames.size(); ++s) {
    const auto from = static_cast<State>(s);
    for (const Transition transition : kTransitions) {
      SCOPED_TRACE(std::string(enum_name(from)) + " " + std::string(to_string(transition)));
      const Row* row = row_of(from, transition);
      Lifecycle refused(from);
      EXPECT_EQ(refused.begin(transition).has_value(), row != nullptr);
      if (row == nullptr) {
        EXPECT_EQ(refused.state(), from);
        continue;
      }
      for (const auto& [outcome, to] : {std::pair(Outcome::kSuccess, row->on_success),
                                        std::pair(Outcome::kFailure, row->on_failure),
                                        std::pair(Outcome::kError, State::kErrorProcessing)}) {
        Lifecycle lifecycle(from);
        ASSERT_TRUE(lifecycle.begin(transition));
        EXPECT_EQ(lifecycle.state(), row->during);
        for (const Transition nested : kTransitions) EXPECT_FALSE(lifecycle.begin(nested));
        lifecycle.finish(outcome);
        EXPECT_EQ(lifecycle.state(), to);
      }
    }
  }
}

TEST(Lifecycle, ErrorProcessingLeadsBackOrToTheEnd) {
  for (const auto& [outcome, to] : {std::pair(Outcome::kSuccess, State::kUnconfigured),
                                    std::pair(Outcome::kFailure, State::kFinalized),
                                    std::pair(Outcome::kError, State::kFinalized)}) {
    Lifecycle lifecycle(State::kErrorProcessing);
    lifecycle.finish(outcome);
    EXPECT_EQ(lifecycle.state(), to);
  }
}

TEST(Lifecycle, RefusalNamesTheStatesThatAllowIt) {
  Lifecycle lifecycle(State::kFinalized);
  EXPECT_EQ(lifecycle.begin(Transition::kActivate).error().message,
            "cannot activate: the node is finalized; it must be inactive");
  EXPECT_EQ(
      lifecycle.begin(Transition::kShutdown).error().message,
      "cannot shutdown: the node is finalized; it must be unconfigured or inactive or active");
}

TEST(Lifecycle, NamesRoundTrip) {
  for (const Transition transition : kTransitions)
    EXPECT_EQ(parse_transition(to_string(transition)), transition);
  EXPECT_EQ(parse_transition("explode"), std::nullopt);
  EXPECT_EQ(parse_transition(""), std::nullopt);
}

}  // namespace
}  // namespace fovea
