#include "nodes/base/cores.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include <sched.h>

#include "nodes/base/file_io.hpp"

namespace fovea {

namespace {

namespace fs = std::filesystem;

// CPUs of one kind differ by some percent: each has a turbo frequency of its own.
constexpr double kFast = 0.8;
// Of an E core, where nothing tells its frequency.
constexpr double kSmallCore = 0.6;
// From here on a network may be too small for all cores.
constexpr std::int32_t kMany = 8;

// Empty if there is none.
std::string text_of(const fs::path& file) {
  constexpr std::uint64_t kLimit = 64 << 10;
  return read_text_file(file, kLimit).value_or("");
}

// The number that `text` begins with, up to a space or line's end; nothing for any other text.
std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (!rest.empty() && rest[0] != ' ' && rest[0] != '\n') return std::nullopt;
  return value;
}

// Calls `take` with every part of `text`, without the separators.
template <class Take>
void split(std::string_view text, char separator, const Take& take) {
  while (!text.empty()) {
    const std::size_t at = std::min(text.find(separator), text.size());
    take(text.substr(0, at));
    text.remove_prefix(std::min(at + 1, text.size()));
  }
}

// Whether the kernel's list "0-3,8" has `cpu`.
bool has(std::string_view list, int cpu) {
  bool found = false;
  split(list, ',', [&](std::string_view range) {
    const std::size_t dash = range.find('-');
    const auto first = number(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(range.substr(dash + 1));
    found = found || (first && last && *first <= cpu && cpu <= *last);
  });
  return found;
}

// The least of the kernel's list, `otherwise` if it is none.
int first_of(std::string_view list, int otherwise) {
  const auto first = number(list.substr(0, list.find_first_of(",-")));
  return first && *first <= otherwise ? static_cast<int>(*first) : otherwise;
}

// Numbers of the affinity mask; empty if the kernel refuses to tell.
std::vector<int> affinity_mask() {
  std::vector<int> numbers;
  // The kernel refuses a set that is smaller than its own: EINVAL on a machine of more CPUs.
  for (int cpus = CPU_SETSIZE; cpus <= 64 * CPU_SETSIZE; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(cpus));
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    const bool got = ::sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !got && errno == EINVAL;
    for (int cpu = 0; got && cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, set)) numbers.push_back(cpu);
    }
    CPU_FREE(set);
    if (!too_small) break;
  }
  return numbers;
}

// The limit of one control group: "QUOTA PERIOD" in microseconds, "max PERIOD" or "-1 PERIOD".
std::optional<double> quota_in(std::string_view text) {
  const auto quota = number(text);
  const auto period = number(text.substr(std::min(text.find(' ') + 1, text.size())));
  if (!quota || !period || *quota == 0 || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

// Of the group and all around it. In a container the path may be the host's, of which nothing is
// seen but the last: the container's own group, mounted as the root.
template <class Limit>
std::optional<double> least_around(const fs::path& mount, std::string_view group,
                                   const Limit& limit) {
  std::optional<double> least;
  fs::path path = fs::path(group).relative_path().lexically_normal();
  if (path.begin() != path.end() && *path.begin() == "..") path.clear();  // outside of what is seen
  for (;;) {
    const std::optional<double> here = limit(path.empty() ? mount : mount / path);
    if (here && (!least || *here < *least)) least = here;
    if (path.empty()) return least;
    path = path.parent_path();
  }
}

std::int32_t limited(std::size_t cpus, std::optional<double> quota) {
  const double most = std::ceil(std::min(quota.value_or(1e6), 1e6));
  return std::max(1, std::min(static_cast<std::int32_t>(cpus), static_cast<std::int32_t>(most)));
}

}  // namespace

std::vector<Cpu> usable_cpus(const fs::path& root) {
  std::vector<int> numbers = affinity_mask();
  const int all = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for (int i = 0; numbers.empty() && i < all; ++i) numbers.push_back(i);
  const fs::path sys = root / "sys/devices";
  const std::string small_cores = text_of(sys / "cpu_atom/cpus");  // of Intel's hybrid CPUs
  std::vector<Cpu> cpus;
  double fastest = 0;
  for (const int number_of : numbers) {
    const fs::path folder = sys / "system/cpu" / ("cpu" + std::to_string(number_of));
    Cpu cpu{.number = number_of,
            .core = first_of(text_of(folder / "topology/thread_siblings_list"), number_of),
            .speed = 0};
    for (const char* file : {"cpu_capacity", "cpufreq/cpuinfo_max_freq"}) {
      if (cpu.speed > 0) break;
      cpu.speed = static_cast<double>(number(text_of(folder / file)).value_or(0));
    }
    cpus.push_back(cpu);
    fastest = std::max(fastest, cpu.speed);
  }
  double best = 0;
  for (Cpu& cpu : cpus) {
    cpu.speed = cpu.speed > 0 ? cpu.speed / fastest : 1;
    if (has(small_cores, cpu.number)) cpu.speed = std::min(cpu.speed, kSmallCore);
    best = std::max(best, cpu.speed);
  }
  for (Cpu& cpu : cpus) cpu.speed /= best;
  return cpus;
}

std::optional<double> cpu_quota(const fs::path& root) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::optional<double> least;
  const auto take = [&](std::optional<double> limit) {
    if (limit && (!least || *limit < *least)) least = limit;
  };
  // "0::/user.slice" (version 2), "4:cpu,cpuacct:/docker/1f2e" (version 1)
  split(text_of(root / "proc/self/cgroup"), '\n', [&](std::string_view line) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string_view group = line.substr(second + 1);
    if (controllers.empty()) {
      take(least_around(mounts, group,
                        [](const fs::path& at) { return quota_in(text_of(at / "cpu.max")); }));
    }
    bool cpu = false;
    split(controllers, ',', [&](std::string_view name) { cpu = cpu || name == "cpu"; });
    if (!cpu) return;
    take(least_around(mounts / "cpu", group, [](const fs::path& at) {
      return quota_in(text_of(at / "cpu.cfs_quota_us") + " " +
                      text_of(at / "cpu.cfs_period_us"));
    }));
  });
  return least;
}

std::int32_t usable_cores() { return limited(usable_cpus().size(), cpu_quota()); }

std::vector<std::int32_t> thread_counts() { return thread_counts(usable_cpus(), cpu_quota()); }

std::vector<std::int32_t> thread_counts(const std::vector<Cpu>& cpus,
                                        std::optional<double> quota) {
  std::size_t fast = 0;
  std::set<int> cores;
  std::set<int> fast_cores;
  for (const Cpu& cpu : cpus) {
    cores.insert(cpu.core);
    if (cpu.speed < kFast) continue;
    ++fast;
    fast_cores.insert(cpu.core);
  }
  std::set<std::int32_t> counts;
  for (const std::size_t count : {cpus.size(), fast, cores.size(), fast_cores.size()}) {
    counts.insert(limited(count, quota));
  }
  for (std::int32_t count = *counts.rbegin(); count >= kMany; count /= 2) counts.insert(count / 2);
  return {counts.begin(), counts.end()};
}

std::vector<int> cpus_for(std::int32_t threads, const std::vector<Cpu>& cpus) {
  std::vector<int> fast;
  for (const Cpu& cpu : cpus) {
    if (cpu.speed >= kFast) fast.push_back(cpu.number);
  }
  const bool enough = fast.size() >= static_cast<std::size_t>(std::max(threads, 1));
  return enough && fast.size() < cpus.size() ? fast : std::vector<int>();
}

}  // namespace fovea
