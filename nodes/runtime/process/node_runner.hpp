// Runs one Node as a process: domain, metrics page, control socket, heartbeat, signals, lifecycle.
// Only run_node() and Node know it.
//
// Thread safety: set_status(), beat(), request_shutdown(), finish() and state() from any thread; the rest
// belongs to the thread of run().
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "msgs/node_status.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/process/control.hpp"
#include "nodes/runtime/process/lifecycle.hpp"
#include "nodes/runtime/process/node.hpp"
#include "nodes/runtime/process/node_options.hpp"
#include "nodes/runtime/process/parameters.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea {

class NodeRunner {
 public:
  NodeRunner(std::unique_ptr<Node> node, ParameterSet parameters, NodeOptions options);
  ~NodeRunner();
  NodeRunner(const NodeRunner&) = delete;
  NodeRunner& operator=(const NodeRunner&) = delete;

  // Until shutdown; returns the exit code. Call once.
  int run();

  const std::string& name() const { return options_.name; }
  const Domain& domain() const { return *domain_; }
  Executor& executor() { return executor_; }
  MetricsPage& metrics() { return *metrics_; }
  msgs::LifecycleState state() const { return state_.load(); }
  void set_status(msgs::DiagnosticLevel level, std::string_view message);
  void beat() { metrics_->beat(); }
  void request_shutdown(int exit_code);
  // Ends with code 0 because the node's work is done, which its page says from then on.
  void finish();

 private:
  Result<> start();
  void autostart();
  bool gave_up_to_stop(const Error& error) const;
  void shut_down();
  Result<> change_state(Transition transition);
  Result<> call_hook(Transition transition);
  void announce_state();
  void publish_status();
  void watch_supervisor();
  void end_without_descriptors();

  // Destroyed last to first: the node's sockets before the executor and the page, whose lock says
  // that this process lives, at the very end.
  ParameterSet parameters_;
  NodeOptions options_;
  std::optional<Domain> domain_;
  std::unique_ptr<MetricsPage> metrics_;
  Executor executor_;
  Lifecycle lifecycle_;
  std::atomic<msgs::LifecycleState> state_{msgs::LifecycleState::kUnconfigured};
  std::atomic<bool> is_ending_{false};
  std::atomic<int> exit_code_{0};
  int without_descriptors_ = 0;     // probes in a row that found none
  Executor::Id first_of_node_ = 0;  // registrations from here on are the node's

  std::mutex status_mutex_;
  msgs::DiagnosticLevel status_level_ = msgs::DiagnosticLevel::kOk;  // guarded by status_mutex_
  std::string status_text_;                                          // guarded by status_mutex_
  std::atomic<bool> is_status_due_{false};

  std::optional<Publisher<msgs::NodeStatus>> status_publisher_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<Node> node_;
};

}  // namespace fovea
