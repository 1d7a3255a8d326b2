// Carries out what is asked of a running launch: `list`, `add_node`, `remove_node`, `set_parameter`.
//
// Changes are taken one after the other: each is checked as a launch is before it starts, while the
// executor goes on, then handed to the supervisor and answered; the next begins when the nodes that
// the last one took out have ended.
//
// Thread safety: none; everything on the executor's thread. Never blocks.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "launch/language/graph.hpp"
#include "launch/supervision/control_messages.hpp"
#include "launch/supervision/parameter_check.hpp"
#include "launch/supervision/supervisor.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::launch {

class ControlRequests {
 public:
  using Reply = std::function<void(const std::string& line)>;

  // `options` as of the launch file; `patience` with programs that are asked about their
  // parameters. REQUIRES: `executor`, `domain` and `supervisor` outlive the object.
  ControlRequests(Executor& executor, const Domain& domain, Supervisor& supervisor,
                  LoadOptions options,
                  std::chrono::milliseconds patience = std::chrono::seconds(5));
  ~ControlRequests();  // what waits is not answered; programs that are asked end
  ControlRequests(const ControlRequests&) = delete;
  ControlRequests& operator=(const ControlRequests&) = delete;

  // Answers one line, now or later, once. Any bytes are safe.
  void handle(std::string_view line, Reply reply);

 private:
  struct Change {
    ControlRequest request;
    Reply reply;
  };
  void turn();
  Result<> begin(const ControlRequest& request);
  Result<Graph> wanted(const ControlRequest& request) const;
  void finish();
  void answer(const ControlReply& reply);

  Executor& executor_;
  const Domain& domain_;
  Supervisor& supervisor_;
  LoadOptions options_;
  std::chrono::milliseconds patience_;
  Executor::Id timer_ = 0;
  std::deque<Change> changes_;  // the first is in work if check_ is set; as many as clients at most

  Graph graph_;  // what the change in work asks for
  std::optional<ParameterCheck> check_;
};

// The same graph without those nodes. Errors: kInvalidArgument for a name that is not there, and
// for a node that others depend on, with their names.
Result<Graph> without_nodes(const Graph& graph, const std::vector<std::string>& names);

// The same graph with one parameter of a node set. Errors: kInvalidArgument for an unknown node.
Result<Graph> with_parameter(const Graph& graph, const std::string& node,
                             const std::string& parameter, const std::string& value);

}  // namespace fovea::launch
