#include "launch/supervision/launch_lock.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fovea::launch {

Result<LaunchLock> LaunchLock::acquire(const Domain& domain) {
  const std::string path = domain.socket_directory() / "launch.lock";
  while (true) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return fail_errno(ErrorCode::kInternal, path);
    LaunchLock lock(path, fd);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      std::array<char, 32> pid{};
      const ssize_t length = pread(fd, pid.data(), pid.size() - 1, 0);
      close(std::exchange(lock.fd_, -1));
      return fail(
          ErrorCode::kUnavailable,
          fmt::format("domain `{0}` already runs a launch (pid {1}); stop it or give this one "
                      "another --domain",
                      domain.name(), length > 0 ? pid.data() : "unknown"));
    }
    // The previous owner may have removed the file between our open and our lock.
    struct stat ours {};
    struct stat present {};
    if (fstat(fd, &ours) != 0 || stat(path.c_str(), &present) != 0 ||
        ours.st_ino != present.st_ino) {
      close(std::exchange(lock.fd_, -1));
      continue;
    }
    const std::string pid = std::to_string(getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
      return fail_errno(ErrorCode::kInternal, path);
    }
    return lock;
  }
}

LaunchLock::LaunchLock(LaunchLock&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

LaunchLock::~LaunchLock() {
  if (fd_ < 0) return;
  unlink(path_.c_str());
  close(fd_);
}

}  // namespace fovea::launch
