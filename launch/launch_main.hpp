// `fovea launch`: reads a launch file, supervises its nodes, shows what they do, and reports at the
// end.
#pragma once

#include <map>
#include <string>

#include "launch/language/graph.hpp"

namespace fovea::launch {

struct LaunchOptions {
  std::string file;                              // path, or name of a shipped launch file
  std::map<std::string, std::string> arguments;  // name:=value
  std::string domain;                            // empty: $FOVEA_DOMAIN, else "default"
  double duration_s = 0;  // stop so long after all nodes are active; 0 = run on
  std::string json_file;  // final figures; "-" = stdout; empty = none
  bool quiet = false;     // neither table nor summary lines
  bool print_only = false;
  bool show_arguments = false;
};

// Returns the exit code: 0 after a launch that ended as it should (finished, Ctrl-C, --duration),
// 1 when a node failed for good, 2 when it could not start: bad launch file, bad parameters, too
// little shared memory; 128 + number after SIGTERM (143) or SIGHUP (129).
int run_launch(const LaunchOptions& options);

}  // namespace fovea::launch
