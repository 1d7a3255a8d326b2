// A build in a process of its own, so that nothing a build does (its memory, its load, a crash in a
// kernel that it tries) can hurt the process that serves meanwhile.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "nodes/detector/engine/builder.hpp"

namespace fovea {

// `fovea-engine` beside this executable, or $FOVEA_BUILDER: another program that takes the same
// arguments and reports in the same way.
std::filesystem::path builder_executable();

// Where a builder finds a pipe for the plan, `--hand-over 3`: a plan needs no file to get here.
inline constexpr int kPlanDescriptor = 3;

struct BuilderOutput {
  std::string report;           // standard output
  std::vector<std::byte> plan;  // a plan file's bytes; empty if it handed none over
};

// Runs `command` at low priority until it ends, and returns what it wrote.
// `keep_going` is called several times a second; false kills it. What it started ends with it.
// Blocks the calling thread. Lines on its standard error that begin with a percentage, as
// `fovea-engine build` prints them, call `progress`, a few times a second at most.
// Errors: kUnavailable with what happened to it and its last other line; kExhausted (descriptors,
// memory, processes) or kInternal if it cannot be started.
Result<BuilderOutput> run_builder(std::vector<std::string> command,
                                  const std::function<bool()>& keep_going,
                                  const engine::Progress& progress);

}  // namespace fovea
