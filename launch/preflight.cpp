#include "launch/preflight.hpp"

#include <thread>

#include <fmt/format.h>
#include <sys/statvfs.h>

#include "launch/values.hpp"
#include "nodes/runtime/metrics.hpp"

namespace fovea::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPollInterval = std::chrono::milliseconds(20);

// Pid of the live process that uses the name; 0 when it is free.
std::uint32_t owner_of(const Domain& domain, const std::string& node) {
  const auto reader = MetricsReader::open(domain, node);
  return reader && (*reader)->alive() ? (*reader)->pid() : 0;
}

}  // namespace

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
