// A node's heartbeat, once a second on `<node>/status`.
#pragma once

#include "msgs/header.hpp"

namespace fovea::msgs {

// ROS 2's primary and transition states.
enum class LifecycleState : std::uint32_t {
  kUnconfigured,
  kInactive,
  kActive,
  kFinalized,
  kConfiguring,
  kCleaningUp,
  kShuttingDown,
  kActivating,
  kDeactivating,
  kErrorProcessing,
};

template <>
struct EnumNames<LifecycleState> {
  static constexpr std::array kNames{
      std::string_view("unconfigured"),  std::string_view("inactive"),
      std::string_view("active"),        std::string_view("finalized"),
      std::string_view("configuring"),   std::string_view("cleaning_up"),
      std::string_view("shutting_down"), std::string_view("activating"),
      std::string_view("deactivating"),  std::string_view("error_processing")};
};

// diagnostic_msgs/DiagnosticStatus levels.
enum class DiagnosticLevel : std::uint32_t { kOk, kWarn, kError, kStale };

template <>
struct EnumNames<DiagnosticLevel> {
  static constexpr std::array kNames{std::string_view("ok"), std::string_view("warn"),
                                     std::string_view("error"), std::string_view("stale")};
};

struct NodeStatus {
  Header header;
  FixedString<32> node;
  FixedString<32> type;
  std::uint32_t pid = 0;
  LifecycleState state = LifecycleState::kUnconfigured;
  DiagnosticLevel level = DiagnosticLevel::kOk;
  std::uint32_t reserved = 0;
  FixedString<256> message;  // what is wrong or in progress; empty when all is well
};

template <>
struct Fields<NodeStatus> {
  static constexpr std::string_view kName = "NodeStatus";
  static constexpr auto kList =
      std::tuple(field("header", &NodeStatus::header), field("node", &NodeStatus::node),
                 field("type", &NodeStatus::type), field("pid", &NodeStatus::pid),
                 field("state", &NodeStatus::state), field("level", &NodeStatus::level),
                 field("reserved", &NodeStatus::reserved), field("message", &NodeStatus::message));
};

}  // namespace fovea::msgs
