// Starts the nodes of a graph in order, keeps them alive, and ends them in order.
//
// Start: a node starts when all it depends on are active. It must become active; without a
// heartbeat for start_timeout it is killed. Run: an active node without a heartbeat for
// heartbeat_timeout is killed. A node whose page says that its work is done has finished when it
// ends with code 0; every other end that we did not ask for is a failure, whoever sent the signal.
// What failed is restarted after a delay that doubles, at most respawn_max_retries times a minute;
// a run that was active for a second ends such a row. Exit code 2, wrong parameters, is final.
// Stop: dependents before what they depend on, each after the frames in flight had their chance to
// drain; SIGINT, then SIGTERM, then SIGKILL. Change: what leaves the graph stops in the same way
// while the others run on.
//
// The launch ends by itself when every node that no other depends on has ended by itself, or when
// none is left, and fails when a node that others depend on, or that never was active, has failed
// for good. A node that came by apply() and never was active fails alone.
//
// Thread safety: everything on the executor's thread. Never blocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "launch/language/graph.hpp"
#include "launch/supervision/child_process.hpp"
#include "launch/supervision/drain.hpp"
#include "launch/supervision/graph_difference.hpp"
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
    // For draining: frames between the nodes, of the cameras whose way leads through `node`; of all
    // cameras if it is empty.
    std::function<std::uint64_t(std::string_view node)> in_flight;
  };

  // REQUIRES: `executor` and `domain` outlive this object.
  Supervisor(Executor& executor, const Domain& domain, Graph graph, Callbacks callbacks);
  ~Supervisor();  // kills what still runs
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  void start();
  // Ends everything in order. The second call sends SIGTERM to all at once, the third SIGKILL.
  void stop();

  // Makes the running graph into `graph`: new nodes start when what they depend on is active, nodes
  // that are not in it end in order, those with another program, parameters or environment end and
  // start anew while their dependents stay up, and all others run on. Returns what that comes to
  // when it has begun, not when it is over. A change may follow before the last is over.
  // Errors, and nothing changes: kInvalidArgument for a graph that check_graph() refuses,
  // kUnavailable once the launch is ending.
  Result<GraphDifference> apply(Graph graph);
  // A node that apply() took out or replaced has not ended yet.
  bool changing() const;
  // What the last apply() asked for, or the graph of the start.
  const Graph& graph() const { return graph_; }
  // Nodes that apply() took out and has not brought back.
  const std::set<std::string, std::less<>>& removed() const { return removed_; }
  // Those, and nodes that came on request and were not active yet: frames go on without them.
  std::set<std::string, std::less<>> absent() const;
  // It came on request and has failed before it was ever active: another request can mend it.
  bool failed_on_request(std::string_view name) const;

  bool done() const { return done_; }
  bool stopping() const { return stop_requests_ > 0; }
  // Every node of the graph is active.
  bool all_active() const;
  // Every node is active or has ended: nothing that starts now will change the picture.
  bool settled() const;
  // Why the launch failed; empty while it has not.
  const std::string& error() const;
  std::vector<NodeReport> report() const;

 private:
  struct Member;

  void turn();
  const Member* find(std::string_view name) const;
  bool has_predecessor(const Member& member) const;
  bool has_dependents(const std::string& name) const;
  bool may_start(const Member& member) const;
  bool waits_in_vain(const Member& member) const;
  Result<std::unique_ptr<ChildProcess>> run(const Member& member) const;
  void spawn(Member& member);
  void watch(Member& member);
  void find_page(Member& member) const;
  void handle_exit(Member& member);
  void handle_failure(Member& member, const std::string& what);
  void give_up(Member& member, const std::string& what);
  static bool failed_on_request(const Member& member);
  void advance_stop();
  void advance_leaving();
  std::vector<Member*> next_to_stop(const std::function<bool(const Member&)>& among) const;
  std::uint64_t in_flight(std::string_view node) const;
  void begin_stop(Member& member, int signal);
  void climb_ladder(Member& member);
  void report_change(const GraphDifference& change) const;
  void forget_left();
  void finish_if_all_ended();
  void stop_because(const std::string& error);
  void event(LogLevel level, std::string_view text) const;

  Executor& executor_;
  const Domain& domain_;
  Graph graph_;
  Callbacks callbacks_;
  std::vector<std::unique_ptr<Member>> members_;  // in the graph's order, then those that leave it
  std::set<std::string, std::less<>> removed_;
  std::map<std::string, std::filesystem::path> programs_;  // of every name that there ever was
  Executor::Id timer_ = 0;
  bool done_ = false;
  int stop_requests_ = 0;
  bool may_end_ = false;  // a node has ended by itself since the last change
  std::string error_;     // why all nodes had to end
  Drain drain_;           // of the launch as a whole
};

}  // namespace fovea::launch
