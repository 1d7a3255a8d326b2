#include "nodes/runtime/process/lifecycle.hpp"

#include <array>

#include <fmt/core.h>

#include "nodes/base/check.hpp"

namespace fovea {
namespace {

using State = msgs::LifecycleState;

struct Rule {
  Transition transition;
  State from;
  State during;
  State to;
};

constexpr std::array kRules{
    Rule{Transition::kConfigure, State::kUnconfigured, State::kConfiguring, State::kInactive},
    Rule{Transition::kActivate, State::kInactive, State::kActivating, State::kActive},
    Rule{Transition::kDeactivate, State::kActive, State::kDeactivating, State::kInactive},
    Rule{Transition::kCleanup, State::kInactive, State::kCleaningUp, State::kUnconfigured},
    Rule{Transition::kShutdown, State::kUnconfigured, State::kShuttingDown, State::kFinalized},
    Rule{Transition::kShutdown, State::kInactive, State::kShuttingDown, State::kFinalized},
    Rule{Transition::kShutdown, State::kActive, State::kShuttingDown, State::kFinalized},
};

constexpr std::array<std::string_view, 5> kNames{"configure", "activate", "deactivate", "cleanup",
                                                 "shutdown"};

}  // namespace

std::string_view to_string(Transition transition) {
  return kNames[static_cast<std::size_t>(transition)];
}

std::optional<Transition> parse_transition(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Transition>(i);
  }
  return std::nullopt;
}

Result<> Lifecycle::begin(Transition transition) {
  std::string allowed;
  for (const Rule& rule : kRules) {
    if (rule.transition != transition) continue;
    if (rule.from == state_) {
      before_ = state_;
      state_ = rule.during;
      return {};
    }
    if (!allowed.empty()) allowed += " or ";
    allowed += msgs::enum_name(rule.from);
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("cannot {}: the node is {}; it must be {}", to_string(transition),
                          msgs::enum_name(state_), allowed));
}

void Lifecycle::finish(Outcome outcome) {
  if (state_ == State::kErrorProcessing) {
    state_ = outcome == Outcome::kSuccess ? State::kUnconfigured : State::kFinalized;
    return;
  }
  for (const Rule& rule : kRules) {
    if (rule.during != state_ || rule.from != before_) continue;
    if (outcome == Outcome::kError) {
      state_ = State::kErrorProcessing;
    } else {
      const bool arrives = outcome == Outcome::kSuccess || rule.transition == Transition::kShutdown;
      state_ = arrives ? rule.to : rule.from;
    }
    return;
  }
  FOVEA_CHECK(!"finish() without begin()");
}

}  // namespace fovea
