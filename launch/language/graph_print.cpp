#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/language/graph.hpp"
#include "launch/language/values.hpp"
#include "launch/supervision/child_process.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

// As a shell would want it: quoted unless it is plain.
std::string quoted(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::vector<ParameterAssignment> assignments(const NodeAction& node) {
  std::vector<ParameterAssignment> all;
  for (const auto& [name, value] : node.parameters) {
    const auto place = node.parameter_places.find(name);
    all.push_back({place == node.parameter_places.end() ? node.where : place->second, name, value});
  }
  return all;
}

std::vector<std::string> command_line(const NodeAction& node, std::string_view domain,
                                      bool supervised) {
  std::vector<std::string> words{node.executable.string(), "--domain", std::string(domain),
                                 "--name", node.name};
  for (const auto& file : node.parameter_files) {
    words.insert(words.end(), {"--params-file", file.string()});
  }
  if (supervised) {
    words.insert(words.end(), {"--params-fd", std::to_string(kParametersFd)});
    return words;
  }
  for (const auto& [name, value] : node.parameters)
    words.insert(words.end(), {"-p", without_secrets(name + ":=" + value)});
  return words;
}

std::string print_graph(const Graph& graph, std::string_view domain) {
  std::string out;
  for (const NodeAction& node : graph.nodes) {
    out += fmt::format("{}  ({})\n", node.name, node.where);
    if (!node.depends_on.empty())
      out += fmt::format("  after    {}\n", fmt::join(node.depends_on, ", "));
    out += fmt::format("  respawn  {}\n",
                       !node.respawn ? "no"
                       : node.respawn_max_retries < 0
                           ? std::string("without limit")
                           : fmt::format("at most {} times a minute", node.respawn_max_retries));
    if (node.shm_bytes > 0) out += fmt::format("  shm      {}\n", format_bytes(node.shm_bytes));
    out += "  run     ";
    for (const auto& [name, value] : node.environment)
      out += fmt::format(" {}={}", name, quoted(without_secrets(value)));
    for (const std::string& word : command_line(node, domain, false))
      out += fmt::format(" {}", quoted(word));
    out += "\n";
  }
  return out;
}

}  // namespace fovea::launch
