// Checks `depends_on` once all nodes of a graph are known: every name exists, nobody waits for
// itself.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "launch/graph.hpp"

namespace fovea::launch {

struct Dependency {
  std::string node, on;
  std::string where;  // "file:line" of the entry
};

// Drops dependencies on nodes that are switched off (`disabled`).
// Errors: kInvalidArgument at the first entry that names nobody or closes a circle.
Result<> resolve_dependencies(Graph& graph, const std::vector<Dependency>& dependencies,
                              const std::set<std::string>& disabled);

}  // namespace fovea::launch
