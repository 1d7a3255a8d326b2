// Plain POSIX calls: streams report neither errno nor fsync.
#include "nodes/detector/engine/file_io.hpp"

#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fovea::engine {

namespace {

// Above every plan and model; keeps a sparse file from taking all memory.
constexpr off_t kMaxFileBytes = off_t{8} << 30;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

ErrorCode code_of_write_error(int error) {
  return error == ENOSPC || error == EDQUOT ? ErrorCode::kExhausted : ErrorCode::kInternal;
}

Result<> write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return fail_errno(code_of_write_error(errno), "write " + path);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  if (::fsync(fd) != 0) return fail_errno(code_of_write_error(errno), "fsync " + path);
  return {};
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    return fail_errno(
        errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kInternal, path);
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno(ErrorCode::kInternal, path);
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::kNotFound, path + ": not a regular file");
  if (status.st_size > kMaxFileBytes) {
    return fail(ErrorCode::kInvalidArgument, path + ": larger than 8 GiB");
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(ErrorCode::kInternal, "read " + path);
    if (got == 0) break;  // it shrank meanwhile; the caller's checks see a truncated file
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

Result<> write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  std::string temporary = path + ".tmp.XXXXXX";
  const FileDescriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (file.get() < 0) return fail_errno(code_of_write_error(errno), "create " + temporary);
  auto written = write_all(file.get(), bytes, temporary);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = fail_errno(code_of_write_error(errno), "rename " + temporary + " to " + path);
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  // The rename itself must survive a power cut too.
  const FileDescriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
  return {};
}

}  // namespace fovea::engine
