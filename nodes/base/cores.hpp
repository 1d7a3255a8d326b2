// The CPUs that a process may use, as the kernel tells: how many, which are fast ones, which share a
// core. For every "0 = as many threads as help".
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace fovea {

struct Cpu {
  int number = 0;    // as in an affinity mask
  int core = 0;      // the lowest CPU of the physical core that this is a thread of
  double speed = 1;  // against the fastest that may be used: little cores and E cores are slower
};

// CPUs in the calling thread's affinity mask (taskset, cpuset), in order, at least one. What sysfs
// does not tell, or tells in words that nobody knows, is taken for a core of its own at full speed.
std::vector<Cpu> usable_cpus(const std::filesystem::path& root = "/");

// CPUs' worth of time that the process's control group, or one around it, grants (docker --cpus, a
// systemd CPUQuota=); nothing if there is no limit. Of both versions of control groups.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

// One per usable CPU, but not more than the quota, rounded up. At least 1.
std::int32_t usable_cores();

// Thread counts up to usable_cores() of which one may be the fastest, least first: one per fast CPU,
// one per physical core, and on large machines less. A single one where all CPUs are alike and few.
std::vector<std::int32_t> thread_counts();
std::vector<std::int32_t> thread_counts(const std::vector<Cpu>& cpus, std::optional<double> quota);

// Where `threads` threads should run: the fast CPUs, if they are enough and there are others; else
// empty = wherever they may.
std::vector<int> cpus_for(std::int32_t threads, const std::vector<Cpu>& cpus);

}  // namespace fovea
