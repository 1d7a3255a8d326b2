#include "launch/supervision/graph_difference.hpp"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "launch/language/graph_dependencies.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

std::vector<NameValue> sorted(std::vector<NameValue> pairs) {
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

bool supervised_the_same(const NodeAction& from, const NodeAction& to) {
  return from.depends_on == to.depends_on && from.respawn == to.respawn &&
         from.respawn_delay == to.respawn_delay &&
         from.respawn_max_retries == to.respawn_max_retries &&
         from.start_timeout == to.start_timeout && from.heartbeat_timeout == to.heartbeat_timeout &&
         from.sigterm_timeout == to.sigterm_timeout && from.sigkill_timeout == to.sigkill_timeout;
}

// Names in the order in which they may start; otherwise as in the graph.
std::vector<std::string> start_order(const Graph& graph) {
  std::vector<std::string> order;
  std::set<std::string> placed;
  while (order.size() < graph.nodes.size()) {
    const std::size_t before = order.size();
    for (const NodeAction& node : graph.nodes) {
      const bool ready = std::all_of(node.depends_on.begin(), node.depends_on.end(),
                                     [&](const std::string& on) { return placed.contains(on); });
      if (ready && placed.insert(node.name).second) order.push_back(node.name);
    }
    if (order.size() == before) break;  // a circle, which check_graph() refuses
  }
  return order;
}

}  // namespace

bool runs_the_same(const NodeAction& from, const NodeAction& to) {
  // A parameter is given once, so their order means nothing; that of files and variables does.
  return from.executable == to.executable && from.parameter_files == to.parameter_files &&
         from.environment == to.environment && sorted(from.parameters) == sorted(to.parameters);
}

GraphDifference difference(const Graph& from, const Graph& to) {
  GraphDifference difference;
  for (const std::string& name : start_order(to)) {
    if (from.find(name) == nullptr) difference.started.push_back(name);
  }
  std::vector<std::string> stop_order = start_order(from);
  std::reverse(stop_order.begin(), stop_order.end());
  for (const std::string& name : stop_order) {
    const NodeAction& before = *from.find(name);
    const NodeAction* after = to.find(name);
    if (after == nullptr) {
      difference.stopped.push_back(name);
    } else if (!runs_the_same(before, *after)) {
      difference.restarted.push_back(name);
    } else if (!supervised_the_same(before, *after)) {
      difference.adjusted.push_back(name);
    }
  }
  return difference;
}

Result<> check_graph(const Graph& graph) {
  std::vector<Dependency> dependencies;
  for (const NodeAction& node : graph.nodes) {
    if (const NodeAction* first = graph.find(node.name); first != &node) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: node name `{}` is already used at {}", node.where,
                              said(node.name), first->where));
    }
    for (const std::string& on : node.depends_on)
      dependencies.push_back({node.name, on, node.where});
  }
  Graph copy = graph;
  return resolve_dependencies(copy, dependencies, {});
}

std::vector<std::string> dependents_of(const Graph& graph, std::string_view name) {
  std::vector<std::string> names;
  for (const NodeAction& node : graph.nodes) {
    if (std::find(node.depends_on.begin(), node.depends_on.end(), name) != node.depends_on.end())
      names.push_back(node.name);
  }
  return names;
}

}  // namespace fovea::launch
