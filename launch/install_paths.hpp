// Where this installation keeps its executables and its shared files. The node executables lie
// beside `fovea`; config/ and launch/ come from $FOVEA_SHARE, else <prefix>/share/fovea, else the
// source tree.
#pragma once

#include <filesystem>
#include <string>

#include "nodes/base/result.hpp"

namespace fovea::launch {

std::filesystem::path executable_directory();
std::filesystem::path share_directory();

// The program that `exec: name` means: a path if it has a `/`, else in `folder`. The error begins
// with the name and says what is there instead, or which name was probably meant.
Result<std::filesystem::path> find_executable(const std::string& name,
                                              const std::filesystem::path& folder);

// `name` itself, or the shipped launch file of that name: "four_cameras",
// "four_cameras.launch.yaml".
std::filesystem::path find_launch_file(const std::string& name);

}  // namespace fovea::launch
