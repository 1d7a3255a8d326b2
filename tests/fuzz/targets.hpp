// Everything that reads what others wrote, each as one function over bytes: libFuzzer mutates its
// input, and a unit test replays tests/fuzz/corpus in every build. A target may abort only for a
// bug; what a sanitizer says is one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::fuzz {

struct Target {
  std::string_view name;
  // True if the input was taken, false if it was refused. Both are fine.
  bool (*run)(std::span<const std::byte> input);
};

std::span<const Target> all_targets();

// nullptr if there is none.
const Target* find_target(std::string_view name);

bool run_onnx(std::span<const std::byte> input);         // a model: parse, lower
bool run_plan(std::span<const std::byte> input);         // a plan: load, run once
bool run_calibration(std::span<const std::byte> input);  // a calibration table
bool run_metadata(std::span<const std::byte> input);     // class names and sizes of a model
bool run_message(std::span<const std::byte> input);      // a type's number, then a message's bytes
bool run_launch(std::span<const std::byte> input);       // a launch file
bool run_parameters(std::span<const std::byte> input);   // a node's YAML file
bool run_mcap(std::span<const std::byte> input);         // a recording, with and without checksums
bool run_cdr(std::span<const std::byte> input);  // a recorded message's kind, then its bytes

// Valid inputs made by the code of today, for formats that change with it.
std::vector<std::string> make_seeds(std::string_view target);

// Ends the process with `what`. REQUIRES: `good`, unless there is a bug.
void require(bool good, const char* what);

}  // namespace fovea::fuzz
