#include "launch/bench/ballast.hpp"

#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostToFill = std::uint64_t{1} << 30;
constexpr std::uint64_t kLeft = 64 * 1024;

std::uint64_t free_bytes(const fs::path& folder) {
  struct statvfs space {};
  if (statvfs(folder.c_str(), &space) != 0) return 0;
  return std::uint64_t{space.f_bavail} * space.f_frsize;
}

}  // namespace

Result<> check_may_fill(const fs::path& folder) {
  const auto refuse = [&](const std::string& why) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("--chaos shm fills {0}, but {1}; give the bench one of its own: unshare -Urm "
                    "sh -c 'mount -t tmpfs -o size=256m tmpfs {0} && fovea bench ...'",
                    folder.string(), why));
  };
  struct statfs space {};
  struct stat here {};
  struct stat above {};
  if (statfs(folder.c_str(), &space) != 0 || stat(folder.c_str(), &here) != 0 ||
      stat((folder / "..").c_str(), &above) != 0)
    return fail_errno(ErrorCode::kNotFound, folder.string());
  if (space.f_type != TMPFS_MAGIC) return refuse("it is no tmpfs");
  if (here.st_dev == above.st_dev) return refuse("it is part of a larger tmpfs");
  if (space.f_blocks == 0) return refuse("its size has no limit; it must be 1 GiB or less");
  const auto size = std::uint64_t{space.f_blocks} * static_cast<std::uint64_t>(space.f_bsize);
  if (size > kMostToFill)
    return refuse(
        fmt::format("it holds {:.1f} GiB, which is the machine's memory; it must be 1 GiB or less",
                    static_cast<double>(size) / (std::uint64_t{1} << 30)));
  std::error_code error;
  const fs::directory_iterator files(folder, error);
  if (error) return fail(ErrorCode::kNotFound, folder.string() + ": " + error.message());
  if (files != fs::directory_iterator())
    return refuse(fmt::format("others keep files in it ({})", files->path().filename().string()));
  return {};
}

Result<std::uint64_t> Ballast::fill(const fs::path& folder) {
  if (!file_) {
    file_ = FileHandle(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file_) return fail_errno(ErrorCode::kInternal, "a file in " + folder.string());
    bytes_ = 0;
  }
  const std::uint64_t free = free_bytes(folder);
  if (free <= kLeft) return bytes_;
  // Others take and give meanwhile; what fails now is tried again.
  if (posix_fallocate(file_.get(), static_cast<off_t>(bytes_), static_cast<off_t>(free - kLeft)) ==
      0)
    bytes_ += free - kLeft;
  return bytes_;
}

void Ballast::release() { file_ = FileHandle(); }

}  // namespace fovea::bench
