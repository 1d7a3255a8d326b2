#include "nodes/base/trusted_folder.hpp"

#include <cerrno>

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nodes/base/text.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

bool is_trusted(uid_t owner) { return owner == ::geteuid() || owner == 0; }

ErrorCode code_of(int error) {
  return error == ENOSPC || error == EDQUOT || error == EMLINK ? ErrorCode::kExhausted
                                                               : ErrorCode::kInternal;
}

}  // namespace

Result<> make_private_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_errno(ErrorCode::kInvalidArgument, "mkdir " + path.native());
  }
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0)
    return fail_errno(ErrorCode::kInternal, "stat " + path.native());
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} has owner {} and mode {:o}; it must be a directory of user {}, mode 700",
                    path.native(), status.st_uid, status.st_mode & 07777u, ::geteuid()));
  }
  return {};
}

Result<> make_folders(const fs::path& path) {
  struct stat status {};
  if (path.empty() || (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))) return {};
  if (path.has_relative_path() && path.parent_path() != path)
    FOVEA_TRY(make_folders(path.parent_path()));
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  const int error = errno == EEXIST ? ENOTDIR : errno;
  // Another process made it, or the path ends with a slash.
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
  errno = error;
  return fail_errno(code_of(error), "mkdir " + one_line(path.native()));
}

Result<> check_trusted_folder(const fs::path& path) {
  const auto refuse = [&](std::string_view what, const struct stat& status,
                          std::string_view wanted) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} {} user {} and has mode {:o}; {}", one_line(path.native()), what,
                            status.st_uid, status.st_mode & 07777u, wanted));
  };
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    return fail_errno(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kInternal,
                      one_line(path.native()));
  }
  if (S_ISLNK(status.st_mode)) {
    if (!is_trusted(status.st_uid)) {
      return refuse("is a symbolic link that belongs to", status,
                    fmt::format("it must be a folder of user {} or root", ::geteuid()));
    }
    if (::stat(path.c_str(), &status) != 0)
      return fail_errno(ErrorCode::kInternal, one_line(path.native()));
  }
  if (!S_ISDIR(status.st_mode)) {
    errno = ENOTDIR;
    return fail_errno(ErrorCode::kInternal, one_line(path.native()));
  }
  if (!is_trusted(status.st_uid)) {
    return refuse("belongs to", status,
                  fmt::format("it must be user {}'s (chown {} {})", ::geteuid(), ::geteuid(),
                              one_line(path.native())));
  }
  const bool others_write = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  if (others_write && (status.st_mode & S_ISVTX) == 0) {
    return refuse(
        "belongs to", status,
        fmt::format("nobody else may write to it (chmod go-w {})", one_line(path.native())));
  }
  return {};
}

}  // namespace fovea
