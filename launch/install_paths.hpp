// Where this installation keeps its executables and its shared files. The node executables lie
// beside `fovea`; config/ and launch/ come from $FOVEA_SHARE, else <prefix>/share/fovea, else the
// source tree.
#pragma once

#include <filesystem>
#include <string>

namespace fovea::launch {

std::filesystem::path executable_directory();
std::filesystem::path share_directory();

// `name` itself, or the shipped launch file of that name: "four_cameras",
// "four_cameras.launch.yaml".
std::filesystem::path find_launch_file(const std::string& name);

}  // namespace fovea::launch
