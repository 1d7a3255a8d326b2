#include "launch/graph_dependencies.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "launch/suggest.hpp"

namespace fovea::launch {

Result<> resolve_dependencies(Graph& graph, const std::vector<Dependency>& dependencies,
                              const std::set<std::string>& disabled) {
  std::vector<std::string> names;
  for (const NodeAction& node : graph.nodes) names.push_back(node.name);
  for (const Dependency& dependency : dependencies) {
    if (graph.find(dependency.on) == nullptr && !disabled.contains(dependency.on)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: node `{}` depends on `{}`, which does not exist{}", dependency.where,
                      dependency.node, dependency.on, did_you_mean(dependency.on, names)));
    }
  }
  for (NodeAction& node : graph.nodes) {
    std::erase_if(node.depends_on,
                  [&](const std::string& on) { return graph.find(on) == nullptr; });
  }
  // Whoever cannot be started after as many rounds as there are nodes waits for itself.
  std::set<std::string> startable;
  for (std::size_t round = 0; round < names.size(); ++round) {
    for (const NodeAction& node : graph.nodes) {
      const bool ready = std::all_of(node.depends_on.begin(), node.depends_on.end(),
                                     [&](const std::string& on) { return startable.contains(on); });
      if (ready) startable.insert(node.name);
    }
  }
  for (const Dependency& dependency : dependencies) {
    if (graph.find(dependency.on) != nullptr && !startable.contains(dependency.node) &&
        !startable.contains(dependency.on)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: node `{}` depends on `{}`, which waits for it in turn",
                              dependency.where, dependency.node, dependency.on));
    }
  }
  return {};
}

}  // namespace fovea::launch
