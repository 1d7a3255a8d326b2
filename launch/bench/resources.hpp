// What processes and the machine use: CPU time, memory, temperatures; and what machine it is.
// Reads /proc and /sys only.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace fovea::bench {

struct ProcessUsage {
  double cpu_s = 0;          // user and system, since it started
  std::uint64_t rss = 0;     // bytes in memory now, shared ones included
  std::uint64_t shared = 0;  // of which shared memory (pools)
};
// nullopt once the process is gone.
std::optional<ProcessUsage> process_usage(pid_t pid);

// CPU time of the whole machine since boot.
struct MachineUsage {
  double busy_s = 0;
  double total_s = 0;  // over all cores
};
MachineUsage machine_usage();

// Highest reading of each sensor that can be read, in degrees Celsius; empty where there is none
// (virtual machines).
std::vector<std::pair<std::string, double>> temperatures();

struct Host {
  std::string name, cpu, kernel;
  std::uint32_t cores = 0;
  std::uint64_t memory = 0;           // bytes
  std::string governor;               // frequency governor of core 0; empty where there is none
  std::vector<std::string> features;  // of the CPU: those that choose kernels
  double load = 0;                    // 1-minute load average at the time of asking
};
Host describe_host();

// A field of /proc/PID/status; for tests.
std::uint64_t parse_status_kib(std::string_view status, std::string_view key);

}  // namespace fovea::bench
