// Parameters from a supervisor to a node, by an inherited descriptor: a command line is open to
// everybody on the machine, and a camera's address may hold a password. Each assignment carries
// where it was written, so that the node's errors point into the launch file.
//
// Thread safety: pure functions but for the descriptor.
#pragma once

#include <string>
#include <vector>

#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

struct ParameterAssignment {
  std::string where;  // leads an error: "four_cameras.launch.yaml:31"
  std::string name, value;
};

// An anonymous file with the assignments, to be inherited as `--params-fd`.
// REQUIRES: no text holds a NUL. Errors: kExhausted without memory or descriptors.
Result<FileHandle> write_assignments(const std::vector<ParameterAssignment>& assignments);

// What write_assignments() put there; the descriptor stays open. Errors: kInvalidArgument when it
// is none of these files.
Result<std::vector<ParameterAssignment>> read_assignments(int fd);

}  // namespace fovea
