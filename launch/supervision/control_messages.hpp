// What is said over a launch's control socket, as values and as one-line JSON. launch/README.md
// describes the protocol. Both ends use these functions.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/supervision/supervisor.hpp"
#include "nodes/base/result.hpp"

namespace fovea::launch {

inline constexpr int kControlVersion = 1;

struct ControlRequest {
  enum class Operation { kList, kAddNode, kRemoveNode, kSetParameter };
  Operation operation = Operation::kList;

  // add_node: a `node:` entry of the launch language, what its errors call it, and its folder.
  std::string entry, source, directory;
  // remove_node
  std::vector<std::string> nodes;
  // set_parameter
  std::string node, parameter, value;
};

struct ControlReply {
  std::string error;  // why the request was refused; empty when it was accepted

  // Of accepted changes: what begins now.
  std::vector<std::string> started, stopped, restarted;
  std::vector<std::string> warnings;

  // Of `list`.
  int pid = 0;
  std::vector<NodeReport> nodes;
};

// One line, without the line feed.
std::string to_json(const ControlRequest& request);
std::string to_json(const ControlReply& reply);

// Any bytes are safe. Errors: kInvalidArgument with what is wrong and what would be right.
Result<ControlRequest> parse_request(std::string_view line);
// Errors: kCorrupt for what is no reply of this version.
Result<ControlReply> parse_reply(std::string_view line);

}  // namespace fovea::launch
