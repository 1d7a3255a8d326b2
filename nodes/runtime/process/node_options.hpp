// The command line of a node: options that all nodes have and one per parameter.
//
// Precedence of parameters, lowest first, whatever the order on the line: default, --params-file,
// --params-fd, -p, --parameter-name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea {

class Node;

struct NodeOptions {
  std::string name;    // the node's type if not given
  std::string domain;  // empty: $FOVEA_DOMAIN, else "default"
  LogLevel log_level = LogLevel::kInfo;
  bool autostart = true;
  bool dump_config = false;
  bool check_params = false;  // parameters are right: exit 0 without starting anything
  bool keep_metrics = false;
  bool joins_late = false;     // MetricsPage::set_joins_late()
  int control_fd = -1;         // end-of-file on it ends the node
  std::int64_t restarts = -1;  // as its supervisor counts them; -1 = it has none
};

// Exit codes of every node. Stable: supervisors tell a wrong set-up, where a restart is useless,
// from a failure by them.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // configuring or running failed; may work another time
inline constexpr int kExitUsage = 2;  // bad option, parameter, name, file or model: will fail again

// Reads the line into `options` and, through `parameters`, into the node's variables. An exit code
// when the process is to end now: --help or --version were printed (0), or an `error: ...` line
// (kExitUsage).
std::optional<int> parse_command_line(const Node& node, ParameterSet& parameters, int argc,
                                      char** argv, NodeOptions& options);

}  // namespace fovea
