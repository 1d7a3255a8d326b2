// Plain POSIX calls: streams report neither errno nor fsync.
#include "nodes/base/file_io.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/base/file_handle.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

// How long a FIFO's reader may take to come, or to take more.
constexpr std::int64_t kReaderPatienceNs = 5'000'000'000;

ErrorCode code_of_write_error(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG ? ErrorCode::kExhausted
                                                              : ErrorCode::kInternal;
}

tl::unexpected<Error> fail_write(std::string_view doing, const fs::path& path) {
  return fail_errno(code_of_write_error(errno), fmt::format("{} {}", doing, path.native()));
}

// Descriptors and devices have no name of their own that could be replaced.
bool is_special_folder(const fs::path& path) {
  return path.native().starts_with("/dev/") || path.native().starts_with("/proc/");
}

std::string_view kind_of(mode_t mode) {
  return S_ISDIR(mode)    ? "a folder"
         : S_ISFIFO(mode) ? "a FIFO"
         : S_ISSOCK(mode) ? "a socket"
         : S_ISREG(mode)  ? "a descriptor"
                          : "a device";
}

// Where the bytes go, symbolic links followed.
struct Target {
  fs::path path;
  std::optional<struct stat> status;  // absent if nothing is there yet

  bool takes_rename() const {
    if (status) return S_ISREG(status->st_mode) && !is_special_folder(path);
    return true;
  }
};

Result<Target> resolve(const fs::path& path) {
  if (path.empty()) return fail(ErrorCode::kInvalidArgument, "the file's name is empty");
  Target target{path, std::nullopt};
  // A link into /proc is a descriptor: what it points to may have no name any more.
  for (int links = 0;
       !is_special_folder(target.path) && fs::is_symlink(fs::symlink_status(target.path));
       ++links) {
    std::error_code error;
    const fs::path next = fs::read_symlink(target.path, error);
    if (error || links == 40) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {}", path.native(),
                              error ? error.message() : "too many symbolic links"));
    }
    target.path = next.is_absolute() ? next : target.path.parent_path() / next;
  }
  struct stat status {};
  if (::stat(target.path.c_str(), &status) == 0) {
    target.status = status;
    if (S_ISDIR(status.st_mode)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} is a folder; it must be a file", path.native()));
    }
    if (S_ISSOCK(status.st_mode)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} is a socket; it must be a file", path.native()));
    }
  } else if (errno != ENOENT) {
    return fail_write("open", path);
  }
  return target;
}

fs::path folder_of(const fs::path& path) {
  const fs::path folder = path.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

bool wait_writable(int fd, std::int64_t deadline) {
  const std::int64_t left_ms = (deadline - monotonic_ns()) / 1'000'000;
  pollfd entry{fd, POLLOUT, 0};
  return left_ms > 0 && ::poll(&entry, 1, static_cast<int>(left_ms)) > 0;
}

Result<> write_all(int fd, std::span<const std::byte> bytes, const fs::path& path) {
  std::int64_t deadline = monotonic_ns() + kReaderPatienceNs;
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(written));
      deadline = monotonic_ns() + kReaderPatienceNs;
    } else if (errno == EAGAIN) {
      if (!wait_writable(fd, deadline)) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("write {}: its reader takes nothing", path.native()));
      }
    } else if (errno != EINTR) {
      return fail_write("write", path);
    }
  }
  return {};
}

struct TemporaryFile {
  fs::path path;
  FileHandle file;
};

constexpr std::string_view kTemporary = ".tmp.";
constexpr std::size_t kRandomLetters = 6;

// It tells whose it is, so that what a killed writer leaves behind can be cleared away.
std::string temporary_prefix(std::string_view filename) {
  constexpr std::size_t kLongest = 200;  // file systems allow 255
  return fmt::format(".{}{}", filename.substr(0, kLongest), kTemporary);
}

bool is_temporary_of(std::string_view name, std::string_view target) {
  if (name.size() <= kRandomLetters || !name.starts_with('.')) return false;
  const std::string_view prefix = name.substr(0, name.size() - kRandomLetters);
  return target.empty() ? prefix.ends_with(kTemporary) : prefix == temporary_prefix(target);
}

// Of whom has it first: its writer, for as long as it lives, or who clears it away.
bool take(const FileHandle& file) { return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0; }

// An unpredictable name, never an existing file. Beside the target, because rename() does not cross
// file systems.
Result<TemporaryFile> make_temporary(const Target& target, mode_t forbidden = 0) {
  const std::string pattern =
      folder_of(target.path) /
      (temporary_prefix(target.path.filename().native()) + std::string(kRandomLetters, 'X'));
  std::string name;
  FileHandle file;
  struct stat made {};
  do {  // once, unless somebody cleared it away before it was taken
    name = pattern;
    file = FileHandle(::mkostemp(name.data(), O_CLOEXEC));
    if (!file) return fail_write("create a file beside", target.path);
    take(file);
  } while (::fstat(file.get(), &made) == 0 && made.st_nlink == 0);
  mode_t mask = ::umask(0);
  ::umask(mask);
  const mode_t mode = target.status ? target.status->st_mode & 07777u : 0666u & ~mask & ~forbidden;
  if (target.status && ::fchown(file.get(), target.status->st_uid, target.status->st_gid) != 0) {
    // Another user's file whose folder we may write to: it becomes ours.
  }
  ::fchmod(file.get(), mode);
  return TemporaryFile{std::move(name), std::move(file)};
}

Result<> replace(const Target& target, TemporaryFile temporary, std::span<const std::byte> bytes) {
  auto written = write_all(temporary.file.get(), bytes, target.path);
  if (written && ::fsync(temporary.file.get()) != 0) written = fail_write("fsync", target.path);
  if (written && ::rename(temporary.path.c_str(), target.path.c_str()) != 0)
    written = fail_write("rename to", target.path);
  if (!written) {
    ::unlink(temporary.path.c_str());
    return written;
  }
  // The rename itself must survive a power cut too.
  const FileHandle folder(
      ::open(folder_of(target.path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder) ::fsync(folder.get());
  return {};
}

// A device, FIFO or descriptor, or a file whose folder takes no new ones.
Result<> write_in_place(const Target& target, std::span<const std::byte> bytes) {
  const bool truncates =
      target.status && S_ISREG(target.status->st_mode) && !is_special_folder(target.path);
  const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (truncates ? O_TRUNC : O_APPEND);
  const std::int64_t deadline = monotonic_ns() + kReaderPatienceNs;
  FileHandle file(::open(target.path.c_str(), flags));
  while (!file && errno == ENXIO &&
         monotonic_ns() < deadline) {  // a FIFO whose reader is not there yet
    ::usleep(20'000);
    file = FileHandle(::open(target.path.c_str(), flags));
  }
  if (!file && errno == ENXIO) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("open {}: nobody reads from it", target.path.native()));
  }
  if (!file) return fail_write("open", target.path);
  return write_all(file.get(), bytes, target.path);
}

// Replacing a file that may not be written to would be a way around its mode.
Result<> check_access(const Target& target) {
  if (target.status && ::access(target.path.c_str(), W_OK) != 0)
    return fail_write("write", target.path);
  return {};
}

// Of an open file.
Result<std::vector<std::byte>> read_all(const FileHandle& file, const struct stat& status,
                                        const fs::path& path, std::uint64_t limit) {
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path.native() + ": not a regular file");
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} bytes; at most {} are read", path.native(), size, limit));
  }
  // Files of /proc and /sys have no size, or another than their text.
  constexpr std::uint64_t kUnknown = 4096;
  std::vector<std::byte> bytes(size > 0 ? size : std::min(kUnknown, limit + 1));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(ErrorCode::kInternal, "read " + path.native());
    if (got == 0) break;  // it shrank meanwhile; the caller's checks see a truncated file
    done += static_cast<std::size_t>(got);
    if (size > 0 || done < bytes.size()) continue;
    if (done > limit) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} has more than {} bytes", path.native(), limit));
    }
    bytes.resize(std::min<std::uint64_t>(2 * bytes.size(), limit + 1));
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace

Result<> check_readable(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return fail_errno(
        errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kInternal,
        path.native());
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is {}; it must be a regular file", path.native(),
                            kind_of(status.st_mode)));
  }
  if (::access(path.c_str(), R_OK) != 0) return fail_errno(ErrorCode::kInternal, path.native());
  return {};
}

Result<std::vector<std::byte>> read_file(const fs::path& path, std::uint64_t limit) {
  FOVEA_TRY(check_readable(path));
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0)
    return fail_errno(ErrorCode::kInternal, path.native());
  return read_all(file, status, path, limit);
}

Result<std::vector<std::byte>> read_trusted_file(const fs::path& path, std::uint64_t limit) {
  const FileHandle file(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW));
  if (!file && errno == ELOOP) {
    return fail(ErrorCode::kCorrupt, path.native() + " is a symbolic link; it must be a file");
  }
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) {
    return fail_errno(
        errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kInternal,
        path.native());
  }
  const bool ours = status.st_uid == ::geteuid() || status.st_uid == 0;
  if (S_ISREG(status.st_mode) && (!ours || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} belongs to user {} and has mode {:o}; it must be user {}'s or "
                            "root's, and nobody else may write to it",
                            path.native(), status.st_uid, status.st_mode & 07777u, ::geteuid()));
  }
  return read_all(file, status, path, limit);
}

Result<std::string> read_text_file(const fs::path& path, std::uint64_t limit) {
  FOVEA_ASSIGN(const std::vector<std::byte> bytes, read_file(path, limit));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<> write_file(const fs::path& path, std::span<const std::byte> bytes) {
  FOVEA_ASSIGN(const Target target, resolve(path));
  FOVEA_TRY(check_access(target));
  if (!target.takes_rename()) return write_in_place(target, bytes);
  remove_leftovers(folder_of(target.path), target.path.filename().native());
  auto temporary = make_temporary(target);
  if (temporary) return replace(target, std::move(*temporary), bytes);
  const bool folder_is_closed = ::access(folder_of(target.path).c_str(), W_OK) != 0;
  return target.status && folder_is_closed ? write_in_place(target, bytes)
                                           : fail(temporary.error());
}

Result<> write_file(const fs::path& path, std::string_view text) {
  return write_file(path, std::as_bytes(std::span(text)));
}

Result<FileHandle> create_file(const fs::path& path, IfExists if_exists) {
  FOVEA_ASSIGN(const Target target, resolve(path));
  // What resolve() does not follow are descriptors (/dev/stdout).
  if (fs::is_symlink(fs::symlink_status(target.path)) ||
      (target.status && !S_ISREG(target.status->st_mode))) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} is {}; it must be the name of a file", path.native(),
                    target.status ? kind_of(target.status->st_mode) : "a link that cannot be used"));
  }
  if (target.status && if_exists == IfExists::kRefuse) {
    return fail(ErrorCode::kInvalidArgument, "create " + path.native() + ": File exists");
  }
  if (target.status && ::unlink(target.path.c_str()) != 0) return fail_write("replace", path);
  FileHandle file(
      ::open(target.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (file) return file;
  const bool is_names_fault = errno == EACCES || errno == EPERM || errno == EROFS ||
                              errno == EEXIST || errno == ENAMETOOLONG;
  if (is_names_fault) return fail_errno(ErrorCode::kInvalidArgument, "create " + path.native());
  if (errno == ENOENT || errno == ENOTDIR)
    return fail_errno(ErrorCode::kNotFound, "create " + path.native());
  return fail_write("create", path);
}

Result<> write_trusted_file(const fs::path& path, std::span<const std::byte> bytes) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
    return fail(ErrorCode::kInvalidArgument, path.native() + " is not a regular file");
  }
  const Target target{path, std::nullopt};
  remove_leftovers(folder_of(path), path.filename().native());
  FOVEA_ASSIGN(TemporaryFile temporary, make_temporary(target, S_IWGRP | S_IWOTH));
  return replace(target, std::move(temporary), bytes);
}

Leftovers remove_leftovers(const fs::path& folder, std::string_view target, bool dry_run) {
  Leftovers removed;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (!is_temporary_of(entry.path().filename().native(), target)) continue;
    const FileHandle file(
        ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    struct stat status {};
    if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || !take(file))
      continue;
    if (!dry_run && ::unlink(entry.path().c_str()) != 0) continue;
    ++removed.files;
    removed.bytes += static_cast<std::uint64_t>(status.st_size);
  }
  return removed;
}

Result<> check_writable(const fs::path& path) {
  FOVEA_ASSIGN(const Target target, resolve(path));
  FOVEA_TRY(check_access(target));
  if (!target.takes_rename()) return {};
  auto temporary = make_temporary(target);
  if (temporary) {
    ::unlink(temporary->path.c_str());
    return {};
  }
  return target.status ? Result<>() : fail(temporary.error());
}

}  // namespace fovea
