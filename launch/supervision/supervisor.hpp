// Starts the nodes of a graph in order, keeps them alive, and ends them in order.
//
// Start: a node starts when all it depends on are active. It must become active; without a
// heartbeat for start_timeout it is killed. Run: an active node without a heartbeat for
// heartbeat_timeout is killed. A node whose page says that its work is done has finished when it
// ends with code 0; every other end that we did not ask for is a failure, whoever sent the signal.
// What failed is restarted after a delay that doubles, at most respawn_max_retries times a minute;
// a run that was active for a second ends such a row. Exit code 2, wrong parameters, is final.
// Stop: dependents before what they depend on, each after the frames in flight had their chance to
// drain; SIGINT, then SIGTERM, then SIGKILL.
//
// The launch ends by itself when every node that no other depends on has ended, and fails when a
// node that others depend on, or that never was active, has failed for good.
//
// Thread safety: everything on the executor's thread. Never blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "launch/language/graph.hpp"
#include "launch/supervision/child_process.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/log.hpp"

namespace fovea::launch {

enum class Phase {
  kWaiting,   // for what it depends on
  kStarting,  // runs, not active yet
  kActive,
  kBackoff,   // crashed; waits for its restart
  kStopping,  // was told to end
  kStopped,   // ended because we told it to
  kFinished,  // ended by itself, its work done
  kFailed,    // will not be restarted
};
std::string_view to_string(Phase phase);  // "waiting"

struct NodeReport {
  std::string name;
  Phase phase = Phase::kWaiting;
  int pid = 0;  // 0 while it does not run
  std::uint64_t restarts = 0;
};

class Supervisor {
 public:
  struct Callbacks {
    std::function<void(std::string_view line)> on_output;      // what nodes print, line by line
    std::function<void(LogLevel, std::string_view)> on_event;  // what the supervisor did and why
    std::function<void()> on_done;                             // every process has ended
    std::function<std::uint64_t()> in_flight;  // frames between the nodes; for draining
  };

  // REQUIRES: `executor` and `domain` outlive this object.
  Supervisor(Executor& executor, const Domain& domain, Graph graph, Callbacks callbacks);
  ~Supervisor();  // kills what still runs
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  void start();
  // Ends everything in order. The second call sends SIGTERM to all at once, the third SIGKILL.
  void stop();

  bool done() const { return done_; }
  bool stopping() const { return stop_requests_ > 0; }
  // Every node of the graph is active.
  bool all_active() const;
  // Every node is active or has ended: nothing that starts now will change the picture.
  bool settled() const;
  // Why the launch failed; empty while it has not.
  const std::string& error() const { return error_; }
  std::vector<NodeReport> report() const;

 private:
  struct Member;

  void turn();
  bool may_start(const Member& member) const;
  Result<std::unique_ptr<ChildProcess>> run(const NodeAction& action, std::uint64_t restarts) const;
  void spawn(Member& member);
  void watch(Member& member);
  void find_page(Member& member) const;
  void handle_exit(Member& member);
  void handle_failure(Member& member, const std::string& what);
  void give_up(Member& member, const std::string& what);
  void advance_stop();
  bool drained();
  void begin_stop(Member& member, int signal);
  void climb_ladder(Member& member);
  void finish_if_all_ended();
  void stop_because(const std::string& error);
  void event(LogLevel level, std::string_view text) const;

  Executor& executor_;
  const Domain& domain_;
  Graph graph_;
  Callbacks callbacks_;
  std::vector<std::unique_ptr<Member>> members_;
  Executor::Id timer_ = 0;
  bool done_ = false;
  int stop_requests_ = 0;
  std::string error_;

  // Draining: since when the next wave waits, what was in flight then, and what will never arrive.
  std::int64_t drain_began_ns_ = 0;
  std::int64_t drain_changed_ns_ = 0;
  std::uint64_t drain_last_ = 0;
  std::uint64_t drain_residue_ = 0;
};

}  // namespace fovea::launch
