#include "launch/install_paths.hpp"

#include <cstdlib>
#include <vector>

#include <fmt/core.h>
#include <unistd.h>

#include "launch/language/suggest.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {

namespace fs = std::filesystem;

fs::path executable_directory() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path();
}

fs::path share_directory() {
  if (const char* chosen = std::getenv("FOVEA_SHARE"); chosen != nullptr && *chosen != '\0')
    return chosen;
  fs::path installed = executable_directory().parent_path() / "share" / "fovea";
  std::error_code ignored;
  if (fs::is_directory(installed / "config", ignored)) return installed;
  return FOVEA_SHARE_FALLBACK;
}

Result<fs::path> find_executable(const std::string& name, const fs::path& folder) {
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("`{}`{}", said(name), why));
  };
  const bool is_path = name.find('/') != std::string::npos;
  const fs::path path = is_path ? fs::path(name) : folder / name;
  std::error_code ignored;
  if (!name.empty() && fs::exists(path, ignored)) {
    if (fs::is_directory(path, ignored)) return refuse(", a folder; it must be a program");
    if (!fs::is_regular_file(path, ignored)) return refuse(", no file; it must be a program");
    if (access(path.c_str(), X_OK) != 0) return refuse(", which may not be run; chmod +x it");
    return path;
  }
  if (is_path) return refuse("; no such executable");
  std::vector<std::string> present;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with("fovea-"))
      present.push_back(entry.path().filename().string());
  }
  return refuse(
      fmt::format("; no such executable in {}{}", folder.string(), did_you_mean(name, present)));
}

fs::path find_launch_file(const std::string& name) {
  std::error_code ignored;
  fs::path shipped = share_directory() / "launch" / name;
  fs::path with_suffix = shipped.string() + ".launch.yaml";
  if (!fs::exists(name, ignored)) {
    if (fs::is_regular_file(shipped, ignored)) return shipped;
    if (fs::is_regular_file(with_suffix, ignored)) return with_suffix;
  }
  return name;
}

}  // namespace fovea::launch
