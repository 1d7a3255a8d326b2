// One node of a running graph, as its supervisor keeps it. For the supervisor's own files.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "launch/supervision/child_process.hpp"
#include "launch/supervision/drain.hpp"
#include "launch/supervision/supervisor.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea::launch {

inline std::int64_t to_ns(Seconds seconds) {
  return static_cast<std::int64_t>(seconds.count() * 1e9);
}

struct Supervisor::Member {
  NodeAction action;
  Phase phase = Phase::kWaiting;
  bool was_active = false;
  bool on_request = false;  // came by apply(): if it never works, the others go on
  bool joins_late = false;  // it was added to the running graph, and is no successor in it
  std::uint64_t restarts = 0;
  std::string failure;  // why it has failed for good

  // On its way out of the graph, or to a successor of the same name with other parameters.
  bool leaving = false;
  bool drains = false;  // all that depended on it leave with it, so it takes in what they sent
  Drain drain;

  std::unique_ptr<ChildProcess> process;
  std::unique_ptr<MetricsReader> metrics;  // of the present process
  Executor::Id exit_id = 0;
  Executor::Id output_id = 0;
  std::deque<std::string> last_lines;

  std::int64_t spawned_ns = 0;
  std::int64_t active_ns = 0;     // since when the present process is active; 0 = not yet
  std::int64_t last_life_ns = 0;  // newest heartbeat, or the start
  std::int64_t restart_at_ns = 0;
  int failures_in_a_row = 0;
  std::deque<std::int64_t> recent_restarts;
  std::string kill_reason;  // why we killed it, empty when we did not

  std::int64_t next_rung_ns = 0;
  int last_signal = 0;

  // What went by until it is active for the first time is not its business.
  bool joins() const { return joins_late && !was_active; }
  bool runs() const { return process != nullptr; }
  bool ended() const {
    return phase == Phase::kStopped || phase == Phase::kFinished || phase == Phase::kFailed;
  }
  bool depends_on(const std::string& name) const;
};

}  // namespace fovea::launch
