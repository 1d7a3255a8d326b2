#include "launch/install_paths.hpp"

#include <cstdlib>

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
