#include "nodes/base/file_handle.hpp"

#include <cerrno>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fovea {
namespace {

bool set_lock(int fd, int byte, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

}  // namespace

FileHandle::~FileHandle() {
  if (fd_ >= 0) close(fd_);
}

bool try_lock_byte(int fd, int byte) { return set_lock(fd, byte, F_WRLCK); }
void unlock_byte(int fd, int byte) { set_lock(fd, byte, F_UNLCK); }

Result<FileHandle> open_own_file(const std::filesystem::path& path) {
  FileHandle file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    if (errno == ENOENT) return fail_errno(ErrorCode::kNotFound, path.native());
    if (errno == ELOOP) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{} is a symbolic link; it must be a file", path.native()));
    }
    const bool foreign = errno == EACCES || errno == EPERM || errno == EISDIR || errno == ENXIO;
    return fail_errno(foreign ? ErrorCode::kCorrupt : ErrorCode::kInternal,
                      "open " + path.native());
  }
  struct stat status {};
  if (fstat(file.get(), &status) != 0)
    return fail_errno(ErrorCode::kInternal, "stat " + path.native());
  if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("{} has owner {} and mode {:o}; it must be a regular file of user {}, mode 600",
                    path.native(), status.st_uid, status.st_mode & 07777u, geteuid()));
  }
  return file;
}

}  // namespace fovea
