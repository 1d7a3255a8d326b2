#include "launch/language/graph_dependencies.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "launch/language/suggest.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

constexpr std::size_t kMaxQuoted = 60;

}  // namespace

Result<> resolve_dependencies(Graph& graph, const std::vector<Dependency>& dependencies,
                              const std::set<std::string>& disabled) {
  std::vector<std::string> names;
  for (const NodeAction& node : graph.nodes) names.push_back(node.name);
  for (const Dependency& dependency : dependencies) {
    if (graph.find(dependency.on) == nullptr && !disabled.contains(dependency.on)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: node `{}` depends on `{}`, which does not exist{}",
                              dependency.where, dependency.node, said(dependency.on, kMaxQuoted),
                              did_you_mean(dependency.on, names)));
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

const NodeAction* Graph::find(std::string_view name) const {
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [&](const auto& n) { return n.name == name; });
  return found == nodes.end() ? nullptr : &*found;
}

bool Graph::has_dependents(std::string_view name) const {
  return std::any_of(nodes.begin(), nodes.end(), [&](const NodeAction& node) {
    return std::find(node.depends_on.begin(), node.depends_on.end(), name) != node.depends_on.end();
  });
}

Result<> check_given(const std::filesystem::path& path,
                     const std::vector<ArgumentDeclaration>& declared,
                     const std::map<std::string, GivenArgument>& given) {
  std::vector<std::string> names;
  for (const ArgumentDeclaration& argument : declared) names.push_back(argument.name);
  for (const auto& [name, argument] : given) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    const std::string shown_name = said(name, kMaxQuoted);
    const std::string what =
        argument.where.empty()
            ? fmt::format("{}: unknown argument `{}`", said(path.string()), shown_name)
            : fmt::format("{}: {} has no argument `{}`", argument.where,
                          said(path.filename().string()), shown_name);
    return fail(ErrorCode::kInvalidArgument, what + did_you_mean(name, names));
  }
  return {};
}

}  // namespace fovea::launch
