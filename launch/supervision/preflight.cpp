#include "launch/supervision/preflight.hpp"

#include <algorithm>
#include <thread>

#include <fcntl.h>
#include <fmt/core.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "launch/language/values.hpp"
#include "launch/supervision/parameter_check.hpp"
#include "nodes/base/file_handle.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPollInterval = std::chrono::milliseconds(20);

// Pid of the live process that uses the name; 0 when it is free.
std::uint32_t owner_of(const Domain& domain, const std::string& node) {
  const auto reader = MetricsReader::open(domain, node);
  return reader && (*reader)->alive() ? (*reader)->pid() : 0;
}

bool is_locked(const std::string& path) {
  const FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  return file && fcntl(file.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

std::string user_name(uid_t uid) {
  const passwd* user = getpwuid(uid);
  return user == nullptr ? fmt::format("uid {}", uid)
                         : fmt::format("{} (uid {})", user->pw_name, uid);
}

// What a process needs beside its streams, measured and rounded up: libraries, loop, log, page.
constexpr std::size_t kDescriptorsOfAProcess = 48;
// For each other node: a stream in and out, with sockets, pools and doorbells.
constexpr std::size_t kDescriptorsOfAStream = 12;
// The launcher's own per node: control pipe, output, pidfd, two looks at its page, a spawn.
constexpr std::size_t kDescriptorsOfAChild = 8;

}  // namespace

Result<std::vector<std::string>> check_parameters(const Graph& graph, const Domain& domain,
                                                  std::chrono::milliseconds patience) {
  FOVEA_ASSIGN(ParameterCheck check, ParameterCheck::ask(graph.nodes, domain, patience));
  return check.wait();
}

Result<> check_owners(const Graph& graph, const Domain& domain) {
  for (const NodeAction& node : graph.nodes) {
    const std::string path = domain.metrics_path(node.name).string();
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0 || status.st_uid == geteuid()) continue;
    if (geteuid() == 0 && !is_locked(path)) continue;  // root replaces what nobody uses
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} belongs to {}: another user has a node `{}` in domain `{}`; give "
                            "this launch another --domain",
                            path, user_name(status.st_uid), node.name, domain.name()));
  }
  return {};
}

Result<> check_descriptors(const Graph& graph) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const std::size_t nodes = graph.nodes.size();
  const std::size_t needed =
      kDescriptorsOfAProcess +
      std::max(kDescriptorsOfAChild * nodes, kDescriptorsOfAStream * (nodes > 0 ? nodes - 1 : 0));
  if (limit.rlim_max == RLIM_INFINITY || needed <= limit.rlim_max) return {};
  return fail(
      ErrorCode::kExhausted,
      fmt::format("a process may open {} files; {} nodes need {} each; raise the hard limit "
                  "(ulimit -Hn, or LimitNOFILE= of the service)",
                  limit.rlim_max, nodes, needed));
}

Result<> check_shared_memory(const Graph& graph, const Domain& domain) {
  std::uint64_t needed = 0;
  std::string parts;
  for (const NodeAction& node : graph.nodes) {
    if (node.shm_bytes == 0) continue;
    needed += node.shm_bytes;
    parts +=
        fmt::format("{}{} {}", parts.empty() ? "" : ", ", node.name, format_bytes(node.shm_bytes));
  }
  struct statvfs filesystem {};
  if (statvfs(domain.shm_directory().c_str(), &filesystem) != 0) {
    return fail_errno(ErrorCode::kInternal, domain.shm_directory().string());
  }
  const std::uint64_t available = std::uint64_t{filesystem.f_bavail} * filesystem.f_frsize;
  if (needed <= available) return {};
  return fail(
      ErrorCode::kExhausted,
      fmt::format("{} has {} free; the nodes need {} ({}); enlarge it (docker: --shm-size, else "
                  "mount -o remount,size=...) or lower shm_size in the launch file",
                  domain.shm_directory().string(), format_bytes(available), format_bytes(needed),
                  parts));
}

Result<> check_names_free(const Graph& graph, const Domain& domain,
                          std::chrono::milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  for (const NodeAction& node : graph.nodes) {
    std::uint32_t owner = 0;
    while ((owner = owner_of(domain, node.name)) != 0) {
      if (Clock::now() > deadline) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: node `{}` already runs in domain `{}` (pid {})", node.where,
                                node.name, domain.name(), owner));
      }
      std::this_thread::sleep_for(kPollInterval);
    }
  }
  return {};
}

}  // namespace fovea::launch
