// ROS 2's managed-node state machine, without the node: which transition is allowed when, and where
// its outcome leads. Pure, so that one table test covers it.
//
//   unconfigured -configure-> inactive -activate-> active -deactivate-> inactive -cleanup->
//   unconfigured unconfigured, inactive, active -shutdown-> finalized
//
// Between begin() and finish() the state is the transition's own ("configuring"). A failure goes
// back to where the transition began (a shutdown finalizes anyway); an error, something that was
// thrown, goes to error_processing, which a success leaves for unconfigured and anything else for
// finalized.
//
// Thread safety: none; belongs to the executor's thread.
#pragma once

#include <optional>
#include <string_view>

#include "msgs/node_status.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

enum class Transition { kConfigure, kActivate, kDeactivate, kCleanup, kShutdown };
enum class Outcome { kSuccess, kFailure, kError };

std::string_view to_string(Transition transition);  // "configure"
std::optional<Transition> parse_transition(std::string_view name);

class Lifecycle {
 public:
  explicit Lifecycle(msgs::LifecycleState state = msgs::LifecycleState::kUnconfigured)
      : state_(state) {}

  msgs::LifecycleState state() const { return state_; }

  // Errors: kInvalidArgument when the present state does not allow it, naming those that do.
  Result<> begin(Transition transition);

  // Ends the transition under way, or error_processing. REQUIRES: one of them is the present state.
  void finish(Outcome outcome);

 private:
  msgs::LifecycleState state_;
  msgs::LifecycleState before_ = msgs::LifecycleState::kUnconfigured;
};

}  // namespace fovea
