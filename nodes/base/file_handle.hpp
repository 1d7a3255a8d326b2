// A file descriptor with an owner, and locks on single bytes of a file: how the runtime knows who
// lives.
//
// A lock belongs to the open file description, so the kernel drops it when the last descriptor and
// the last mapping of that description are gone, whatever ended the process. Two descriptions of
// the same process exclude each other too.
//
// Thread safety: plain value; the lock functions are system calls.
#pragma once

#include <filesystem>
#include <utility>

#include "nodes/base/result.hpp"

namespace fovea {

class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileHandle();

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Exclusive lock on byte `byte` without waiting; false if another open file description has it.
// REQUIRES: `fd` is open for writing.
bool try_lock_byte(int fd, int byte);
void unlock_byte(int fd, int byte);

// Opens a file of ours in a directory that others may write to (/dev/shm): follows no symbolic link
// and refuses what is not a regular file of this user that nobody else may touch. Errors:
// kNotFound, kCorrupt (foreign owner, mode or kind), kInternal.
Result<FileHandle> open_own_file(const std::filesystem::path& path);

}  // namespace fovea
