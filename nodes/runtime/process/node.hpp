// Base of every process: parameters, lifecycle, executor, metrics, control socket. A node folder
// defines one subclass and make_node(); main() exists once, in main.cpp.
//
// Lifecycle (ROS 2's states and names): unconfigured -configure-> inactive -activate-> active, back
// by deactivate and cleanup, finalized by shutdown. A node configures and activates itself at start
// unless
// --no-autostart is given. on_*() run on the executor's thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "msgs/node_status.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/process/parameters.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea {

class Node {
 public:
  // `type` is the node's kind and default name: "camera", "preprocess", "detector", "postprocess".
  Node(std::string_view type, std::string_view description);
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const std::string& type() const { return type_; }
  const std::string& description() const { return description_; }

  virtual void declare_parameters(ParameterSet& parameters) = 0;

  // Values that do not go together, which no parameter shows alone. Opens nothing. Comes before every
  // on_configure(), and is all that `--check-params` asks a node.
  virtual Result<> check_parameters() const { return {}; }

  // The stop signal, counted from the first, that ends the process without any more closing. A node
  // whose last work must not be cut short asks for more than 2.
  virtual int stop_signals_to_abort() const { return 2; }

  // Acquire everything: files, pools, sockets; into one struct that the node keeps when nothing can
  // fail any more, since on_cleanup() does not follow an error. An error leaves the node unconfigured
  // and ends an autostarted process with a non-zero exit.
  virtual Result<> on_configure() = 0;
  virtual Result<> on_activate() { return {}; }
  // Stop producing and let what is in process leave.
  virtual Result<> on_deactivate() { return {}; }
  // Release what on_configure() acquired. Everything that the node registered with the executor is
  // gone already; so it is after a failed on_configure().
  virtual Result<> on_cleanup() { return {}; }

 protected:
  // Valid from on_configure() on.
  const std::string& name() const;
  const Domain& domain() const;
  Executor& executor();
  MetricsPage& metrics();
  msgs::LifecycleState state() const;

  // Shown by `fovea node list`, the live table and the heartbeat. Thread-safe.
  void set_status(msgs::DiagnosticLevel level, std::string_view message);
  // From on_configure() while it works for long (engine builds): keeps the heartbeat alive.
  // Thread-safe.
  void beat();
  // Ends the process in order with this exit code, as after SIGTERM. 0 says that its work is done
  // (a recording has been played to its end): a supervisor takes it for finished, and any other end
  // that it did not ask for, for a failure. Thread-safe.
  void request_shutdown(int exit_code = 0);

  // Calls `on_message(Received<M>&&)` on the executor's thread for every message of the
  // subscription.
  template <class M, class Callback>
  Executor::Id spin(Subscription<M>& subscription, Callback on_message) {
    return executor().add_fd(subscription.fd(), [&subscription, on_message]() mutable {
      subscription.drain();
      while (auto received = subscription.take()) on_message(std::move(*received));
    });
  }

 private:
  friend class NodeRunner;
  std::string type_, description_;
  class NodeRunner* runner_ = nullptr;
};

// Defined once per node executable.
std::unique_ptr<Node> make_node();

// What main() does; returns the exit code: 0 stopped in order, 1 configuring or running failed, 2
// bad option, parameter or parameter file. The first SIGINT, SIGTERM or SIGHUP deactivates, cleans
// up and shuts down (once on_configure() is through, if it came meanwhile); a second one
// (stop_signals_to_abort()) ends the process at once with 128 + its number. Supervisors therefore
// start nodes in process groups of their own, so that Ctrl-C does not count twice.
int run_node(std::unique_ptr<Node> node, int argc, char** argv);

}  // namespace fovea
