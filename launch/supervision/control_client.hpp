// The other end of a launch's control socket, and the commands that use it: `fovea node add`,
// `fovea node remove`, `fovea param set`.
//
// Thread safety: any thread; blocks.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "launch/supervision/control_messages.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::launch {

// Asks the launch that runs in the domain. A refusal is a reply with an error. Errors: kNotFound
// when none runs there, kInvalidArgument for a request that is too long, kUnavailable when no answer
// comes within `timeout`, kCorrupt for an answer that is none.
Result<ControlReply> ask_launch(const Domain& domain, const ControlRequest& request,
                                std::chrono::milliseconds timeout = std::chrono::seconds(60));

// Print what begins to stdout, complain on stderr, and return the exit code: 0 when the launch has
// accepted, 1 when it has refused or there is none, 2 for a file that cannot be read.
// `file`: one `node:` entry, "-" = stdin.
int node_add(const Domain& domain, const std::string& file);
int node_remove(const Domain& domain, const std::vector<std::string>& nodes);
int param_set(const Domain& domain, const std::string& node, const std::string& parameter,
              const std::string& value);

}  // namespace fovea::launch
