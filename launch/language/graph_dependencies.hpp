// Names in a launch file that refer to what stands elsewhere: `depends_on`, once all nodes of a
// graph are known (every name exists, nobody waits for itself), and arguments given to a file.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "launch/language/graph.hpp"

namespace fovea::launch {

struct Dependency {
  std::string node, on;
  std::string where;  // "file:line" of the entry
};

// Drops dependencies on nodes that are switched off (`disabled`).
// Errors: kInvalidArgument at the first entry that names nobody or closes a circle.
Result<> resolve_dependencies(Graph& graph, const std::vector<Dependency>& dependencies,
                              const std::set<std::string>& disabled);

// A value given for an argument and who gave it ("four.launch.yaml:12", or empty for the command
// line).
struct GivenArgument {
  std::string value, where;
};

// Every given argument is one that the file at `path` declares.
Result<> check_given(const std::filesystem::path& path,
                     const std::vector<ArgumentDeclaration>& declared,
                     const std::map<std::string, GivenArgument>& given);

}  // namespace fovea::launch
