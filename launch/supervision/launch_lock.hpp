// At most one launch per domain: a locked file in the domain's socket folder, holding our pid for
// whoever is refused. The kernel drops the lock when this process dies; the file goes with the
// object.
#pragma once

#include <string>

#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::launch {

class LaunchLock {
 public:
  // Errors: kUnavailable when another launch runs in this domain; names its pid.
  static Result<LaunchLock> acquire(const Domain& domain);
  LaunchLock(LaunchLock&& other) noexcept;
  LaunchLock& operator=(LaunchLock&&) = delete;
  ~LaunchLock();

 private:
  LaunchLock(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_ = -1;
};

}  // namespace fovea::launch
