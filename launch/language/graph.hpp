// What a launch file asks for, resolved: every substitution expanded, every condition decided,
// every name checked. ROS 2's YAML launch shape, read strictly: anything not understood is an error
// that carries `file:line` and, where one is near, what was probably meant. launch/README.md
// describes the language.
//
// Thread safety: plain values and pure functions; the environment is read for $(env ...).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nodes/base/result.hpp"
#include "nodes/runtime/process/parameter_stream.hpp"

namespace fovea::launch {

using NameValue = std::pair<std::string, std::string>;
using Seconds = std::chrono::duration<double>;

// One process to run. Times and limits may be set per node in the launch file under these names.
struct NodeAction {
  std::string name;
  std::filesystem::path executable;
  std::vector<std::filesystem::path> parameter_files;   // in order; later ones win
  std::vector<NameValue> parameters;                    // win over files
  std::map<std::string, std::string> parameter_places;  // "file:line" of each one's value
  std::vector<NameValue> environment;                   // on top of the launcher's own
  std::vector<std::string> depends_on;  // started after these are active, stopped before them

  bool respawn = false;        // start it again when it crashes or hangs
  Seconds respawn_delay{0.1};  // before the first restart; doubles up to 5 s while it keeps failing
  std::int64_t respawn_max_retries =
      10;  // within a minute, of starts that did not work; more and it has failed; -1 = no limit
  Seconds start_timeout{30.0};     // without a heartbeat on the way to active
  Seconds heartbeat_timeout{5.0};  // without a heartbeat once active
  Seconds sigterm_timeout{5.0};    // from SIGINT to SIGTERM
  Seconds sigkill_timeout{5.0};    // from SIGTERM to SIGKILL
  std::uint64_t shm_bytes = 0;  // shared memory its pools need, for the preflight; 0 = not stated

  std::string where;  // "file:line" of the action, for messages
};

// An `arg` of the launch file itself, for --show-args.
struct ArgumentDeclaration {
  std::string name, description;
  std::string default_value;
  bool has_default = false;
};

struct Graph {
  std::vector<NodeAction> nodes;  // in the order of the file; dependencies name nodes of this list
  std::vector<ArgumentDeclaration> arguments;
  std::map<std::string, std::string> variables;  // of the file itself, as they are at its end

  // nullptr when there is none.
  const NodeAction* find(std::string_view name) const;
  // True when some node depends on `name`.
  bool has_dependents(std::string_view name) const;
};

struct LoadOptions {
  std::map<std::string, std::string> arguments;  // `name:=value` of the command line
  std::filesystem::path executable_directory;    // where a bare `exec` is looked for
  std::filesystem::path share_directory;         // what $(share) stands for
};

// Reads `file` and everything it includes.
// Errors: kNotFound for an absent file, kInvalidArgument for everything else.
Result<Graph> load_graph(const std::filesystem::path& file, const LoadOptions& options);

// Where an entry comes from that is added to a running graph.
struct EntrySource {
  std::string name;                 // leads its errors: "cam4.yaml:3: ..."
  std::filesystem::path directory;  // $(dirname), and where its parameter files are looked for
};

// `running` with one more node: that of `text`, one `node:` entry in YAML or JSON as it would stand
// at the end of the launch file, alone or as a list of one. $(var ...) means running.variables.
// Errors: kInvalidArgument, as for a launch file.
Result<Graph> add_entry(const Graph& running, const std::string& text, const EntrySource& source,
                        const LoadOptions& options);

// The arguments that `file` declares, without evaluating the rest.
Result<std::vector<ArgumentDeclaration>> load_arguments(const std::filesystem::path& file);

// The command line of a node, executable first: for people, without passwords, or (`supervised`) as
// the supervisor runs it, which hands over assignments() by descriptor.
std::vector<std::string> command_line(const NodeAction& node, std::string_view domain,
                                      bool supervised);
std::vector<ParameterAssignment> assignments(const NodeAction& node);

// The resolved graph for people (--print): one block a node, its command line ready to paste.
std::string print_graph(const Graph& graph, std::string_view domain);

}  // namespace fovea::launch
