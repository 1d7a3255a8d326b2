#include "launch/bench/resources.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fmt/core.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string first_line(const fs::path& path) {
  std::string text = read_text(path);
  return text.substr(0, text.find('\n'));
}

double ticks_to_seconds(double ticks) { return ticks / static_cast<double>(sysconf(_SC_CLK_TCK)); }

// `key : value` of /proc/cpuinfo.
std::string cpuinfo(std::string_view text, std::string_view key) {
  const std::size_t begin = text.find(key);
  if (begin == std::string_view::npos) return "";
  const std::size_t colon = text.find(':', begin);
  const std::size_t end = text.find('\n', begin);
  if (colon == std::string_view::npos || colon + 2 > end) return "";
  return std::string(text.substr(colon + 2, end - colon - 2));
}

void add_sensor(std::vector<std::pair<std::string, double>>& sensors, const std::string& name,
                const fs::path& input) {
  const std::string text = first_line(input);
  double thousandths = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), thousandths);
  if (error == std::errc() && end == text.data() + text.size())
    sensors.emplace_back(name, thousandths / 1e3);
}

}  // namespace

std::uint64_t parse_status_kib(std::string_view status, std::string_view key) {
  const std::string wanted = fmt::format("\n{}:", key);
  const std::size_t begin = status.find(wanted);
  if (begin == std::string_view::npos) return 0;
  std::istringstream value{std::string(status.substr(begin + wanted.size(), 40))};
  std::uint64_t kib = 0;
  value >> kib;
  return kib;
}

std::optional<ProcessUsage> process_usage(pid_t pid) {
  // The scheduler's own sum, in ns; /proc/PID/stat has ticks of 10 ms.
  clockid_t clock{};
  timespec spent{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
    return std::nullopt;
  const double cpu_s = static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
  const std::string status = read_text(fmt::format("/proc/{}/status", pid));
  return ProcessUsage{cpu_s, parse_status_kib(status, "VmRSS") * 1024,
                      parse_status_kib(status, "RssShmem") * 1024};
}

MachineUsage machine_usage() {
  std::istringstream fields(first_line("/proc/stat"));
  std::string label;
  fields >> label;
  double ticks = 0;
  MachineUsage usage;
  // user nice system idle iowait irq softirq steal; guest times are part of user.
  for (int i = 0; i < 8 && fields >> ticks; ++i) {
    usage.total_s += ticks_to_seconds(ticks);
    if (i != 3 && i != 4) usage.busy_s += ticks_to_seconds(ticks);
  }
  return usage;
}

std::vector<std::pair<std::string, double>> temperatures() {
  std::vector<std::pair<std::string, double>> sensors;
  std::error_code error;
  for (const auto& chip : fs::directory_iterator("/sys/class/hwmon", error)) {
    for (const auto& entry : fs::directory_iterator(chip.path(), error)) {
      const std::string file = entry.path().filename();
      if (!file.starts_with("temp") || !file.ends_with("_input")) continue;
      const std::string label =
          first_line(chip.path() / (file.substr(0, file.size() - 6) + "_label"));
      add_sensor(sensors,
                 fmt::format("{}/{}", first_line(chip.path() / "name"),
                             label.empty() ? file.substr(0, file.size() - 6) : label),
                 entry.path());
    }
  }
  for (const auto& zone : fs::directory_iterator("/sys/class/thermal", error)) {
    if (!zone.path().filename().string().starts_with("thermal_zone")) continue;
    add_sensor(sensors, first_line(zone.path() / "type"), zone.path() / "temp");
  }
  std::sort(sensors.begin(), sensors.end());
  return sensors;
}

Host describe_host() {
  Host host;
  utsname system{};
  if (uname(&system) == 0) {
    host.name = system.nodename;
    host.kernel = fmt::format("{} {} {}", system.sysname, system.release, system.machine);
  }
  const std::string text = read_text("/proc/cpuinfo");
  host.cpu = cpuinfo(text, "model name");
  host.cores = static_cast<std::uint32_t>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
  host.memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  host.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  std::istringstream flags(cpuinfo(text, "flags"));
  for (std::string flag; flags >> flag;) {
    for (const char* known : {"avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_vbmi",
                              "avx512_bf16", "avx512_fp16", "amx_int8"}) {
      if (flag == known) host.features.push_back(flag);
    }
  }
  std::istringstream(read_text("/proc/loadavg")) >> host.load;
  return host;
}

}  // namespace fovea::bench
