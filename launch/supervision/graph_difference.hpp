// What has to happen so that one running graph becomes another: which nodes start, which end, which
// end and start anew, and which are left alone.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "launch/language/graph.hpp"

namespace fovea::launch {

struct GraphDifference {
  std::vector<std::string> started;  // only in the new graph; each after what it depends on
  std::vector<std::string> stopped;  // only in the old one; each before what it depends on
  // In both, with another program, parameters or environment; in the order in which they stop.
  std::vector<std::string> restarted;
  // In both, with other supervision: respawn, timeouts, dependencies. They run on.
  std::vector<std::string> adjusted;

  bool empty() const {
    return started.empty() && stopped.empty() && restarted.empty() && adjusted.empty();
  }
};

// REQUIRES: both graphs pass check_graph().
GraphDifference difference(const Graph& from, const Graph& to);

// Every name is used once, every dependency is a node of the graph, nobody waits for itself.
// Errors: kInvalidArgument with place and name.
Result<> check_graph(const Graph& graph);

// The process of `from` need not end to become that of `to`.
bool runs_the_same(const NodeAction& from, const NodeAction& to);

// The nodes of `graph` that depend on `name`.
std::vector<std::string> dependents_of(const Graph& graph, std::string_view name);

}  // namespace fovea::launch
