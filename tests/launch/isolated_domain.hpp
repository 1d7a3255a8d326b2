// A domain of the test's own, with its own socket folder and its own shared-memory folder; both
// must be empty when a launch is over.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <stdlib.h>

#include "nodes/runtime/domain.hpp"

namespace fovea::launch {

class IsolatedDomain {
 public:
  IsolatedDomain() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fovea_launch_XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    std::filesystem::create_directories(root_ / "shm");
    setenv("XDG_RUNTIME_DIR", root_.c_str(), 1);
    setenv("FOVEA_SHM_DIR", (root_ / "shm").c_str(), 1);
    domain_.emplace(Domain::open("test").value());
  }
  ~IsolatedDomain() { std::filesystem::remove_all(root_); }
  IsolatedDomain(const IsolatedDomain&) = delete;
  IsolatedDomain& operator=(const IsolatedDomain&) = delete;

  const Domain& operator*() const { return *domain_; }
  const Domain* operator->() const { return &*domain_; }
  const std::filesystem::path& root() const { return root_; }

  // Sockets, locks, pools and metrics pages that lie in the domain's folders; hidden bookkeeping of
  // the domain itself aside.
  std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    for (const auto& folder : {domain_->socket_directory(), domain_->shm_directory()}) {
      for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with('.')) names.push_back(name);
      }
    }
    return names;
  }

 private:
  std::filesystem::path root_;
  std::optional<Domain> domain_;
};

}  // namespace fovea::launch
