// A build in a process of its own, so that nothing a build does (its memory, its load, a crash in a
// kernel that it tries) can hurt the process that serves meanwhile.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "nodes/detector/engine/builder.hpp"

namespace fovea {

// `fovea-engine` beside this executable, or $FOVEA_BUILDER: another program that takes the same
// arguments and reports in the same way.
std::filesystem::path builder_executable();

// Runs `command` at low priority until it ends, or until `stop_fd` becomes readable, which kills it
// with everything it started. Blocks the calling thread, which the child does not outlive. Lines of
// its output that begin with a percentage, as `fovea-engine build` prints them, call `progress`.
// Errors: kUnavailable with what happened to it and its last other line; kInternal if it cannot be
// started.
Result<> run_builder(std::vector<std::string> command, int stop_fd,
                     const engine::Progress& progress);

}  // namespace fovea
