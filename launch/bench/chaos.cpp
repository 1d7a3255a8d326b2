#include "launch/bench/chaos.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/core.h>
#include <signal.h>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kSilence = 2;
constexpr double kFull = 2;
// Frames that were under way when it struck were due before it.
constexpr std::int64_t kUnderWay = 300'000'000;

struct Known {
  FaultKind kind;
  std::string_view name;
};
constexpr std::array<Known, 5> kFaults{{{FaultKind::kKill, "kill"},
                                        {FaultKind::kStall, "stall"},
                                        {FaultKind::kUnplug, "unplug"},
                                        {FaultKind::kCache, "cache"},
                                        {FaultKind::kShm, "shm"}}};

std::string_view name_of(FaultKind kind) { return kFaults[static_cast<std::size_t>(kind)].name; }

// 0 when there is no such process.
pid_t pid_of(const std::string& domain_name, const std::string& node) {
  const auto domain = Domain::open(domain_name);
  if (!domain) return 0;
  const auto page = MetricsReader::open(*domain, node);
  return page && (*page)->alive() ? static_cast<pid_t>((*page)->pid()) : 0;
}

// Inverts a byte in the middle of every plan: the size stays, a checksum does not.
int damage_plans(const fs::path& folder) {
  int damaged = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".plan") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(entry.file_size() / 2);
    file.seekg(middle);
    const int byte = file.get();
    file.seekp(middle);
    file.put(static_cast<char>(~byte));
    damaged += file.good();
  }
  return damaged;
}

}  // namespace

Result<FaultKind> fault_from_name(std::string_view name) {
  std::string valid;
  for (const Known& known : kFaults) {
    if (known.name == name) return known.kind;
    valid += (valid.empty() ? "" : ", ") + std::string(known.name);
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--chaos names `{}`; it must be of {}", name, valid));
}

Result<> check_harmless(const std::vector<FaultKind>& faults) {
  if (std::find(faults.begin(), faults.end(), FaultKind::kShm) == faults.end()) return {};
  FOVEA_ASSIGN(const Domain domain, Domain::open());
  return check_may_fill(domain.shm_directory());
}

Chaos::Chaos(std::string domain, std::vector<FaultKind> faults, double duration_s,
             std::string cache)
    : domain_(std::move(domain)), duration_s_(duration_s), cache_(std::move(cache)) {
  const double share = duration_s / static_cast<double>(faults.size());
  for (std::size_t i = 0; i < faults.size(); ++i)
    events_.push_back({faults[i], share * (static_cast<double>(i) + 0.1), 0, ""});
}

// A stopped camera would outlive the launcher's patience.
Chaos::~Chaos() {
  if (silenced_ > 0) kill(silenced_, SIGCONT);
}

void Chaos::turn(double seconds_into_window) {
  if (silenced_ > 0 && seconds_into_window >= silenced_until_s_) {
    kill(silenced_, SIGCONT);
    silenced_ = 0;
  }
  if (ballast_.held()) {
    if (seconds_into_window >= full_until_s_) {
      ballast_.release();
    } else {
      fill_shm();  // what came free meanwhile
    }
  }
  for (Event& event : events_) {
    if (event.at_ns == 0 && seconds_into_window >= event.planned_s)
      strike(event, seconds_into_window);
  }
}

// Says how much it is.
std::string Chaos::fill_shm() {
  const auto domain = Domain::open(domain_);
  if (!domain) return domain.error().message;
  const auto bytes = ballast_.fill(domain->shm_directory());
  return bytes ? fmt::format("{:.0f} MB taken", static_cast<double>(*bytes) / 1e6)
               : bytes.error().message;
}

void Chaos::strike(Event& event, double seconds_into_window) {
  event.at_ns = monotonic_ns();
  const bool is_preprocess = event.kind == FaultKind::kStall || event.kind == FaultKind::kShm;
  const std::string target = is_preprocess                      ? "preprocess"
                             : event.kind == FaultKind::kUnplug ? camera_name(0)
                                                                : "detector";
  const pid_t pid = pid_of(domain_, target);
  if (pid <= 0) {
    event.detail = fmt::format("{} was not running", target);
    return;
  }
  switch (event.kind) {
    case FaultKind::kKill:
      kill(pid, SIGKILL);
      event.detail = "SIGKILL to the detector";
      break;
    case FaultKind::kStall:
      kill(pid, SIGSTOP);
      event.detail = "SIGSTOP to preprocess; the supervisor ends it when its heartbeat is overdue";
      break;
    case FaultKind::kUnplug:
      kill(pid, SIGSTOP);
      silenced_ = pid;
      silenced_until_s_ = seconds_into_window + kSilence;
      event.detail = fmt::format("{} silent for {:g} s", target, kSilence);
      break;
    case FaultKind::kCache:
      event.detail =
          fmt::format("{} cached engines damaged, detector killed", damage_plans(cache_));
      kill(pid, SIGKILL);
      break;
    case FaultKind::kShm:
      full_until_s_ = seconds_into_window + kFull;
      event.detail = fmt::format("{} for {:g} s, all shared memory but 64 KiB; preprocess killed",
                                 fill_shm(), kFull);
      kill(pid, SIGKILL);
      break;
  }
}

Outage outage(const RunResult& run, std::uint32_t camera, double rate, std::int64_t begin,
              std::int64_t end) {
  std::map<std::int64_t, std::int64_t> arrived;  // due -> received
  for (const FrameRecord& frame : run.frames) {
    if (frame.camera == camera) arrived[frame.due] = frame.received;
  }
  Outage result;
  if (arrived.empty()) {
    result.lost = grid_points(begin, end, begin, rate);
    result.recovered_ns = -1;
    return result;
  }
  // Walk the grid; a frame whose stamp lies within half a period of a point is that point's.
  const double period = 1e9 / rate;
  const std::int64_t origin = arrived.begin()->first;
  const auto half = static_cast<std::int64_t>(period / 2);
  const auto first =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(begin - origin) / period));
  bool last_is_lost = false;
  for (std::int64_t i = first;; ++i) {
    const std::int64_t due = origin + std::llround(static_cast<double>(i) * period);
    if (due >= end) break;
    const auto found = arrived.lower_bound(due - half);
    const bool came = found != arrived.end() && found->first < due + half;
    if (!came) {
      ++result.lost;
    } else if (last_is_lost) {
      result.recovered_ns = found->second;
    }
    last_is_lost = !came;
  }
  if (last_is_lost) result.recovered_ns = -1;
  return result;
}

std::vector<Fault> Chaos::evaluate(const RunResult& run, double rate) const {
  std::vector<Fault> faults;
  for (std::size_t i = 0; i < events_.size(); ++i) {
    const Event& event = events_[i];
    Fault fault;
    fault.name = name_of(event.kind);
    fault.detail = event.detail;
    fault.at_s = static_cast<double>(event.at_ns - run.begin_ns) / 1e9;
    fault.recovered_s = 0;
    const std::int64_t end = i + 1 < events_.size() ? events_[i + 1].at_ns - kUnderWay : run.end_ns;
    for (std::uint32_t camera = 0; camera < run.cameras.size(); ++camera) {
      const Outage lost = outage(run, camera, rate, event.at_ns - kUnderWay, end);
      fault.lost += lost.lost;
      if (lost.recovered_ns < 0) {
        fault.recovered_s = -1;
      } else if (lost.recovered_ns > 0 && fault.recovered_s >= 0) {
        fault.recovered_s =
            std::max(fault.recovered_s, static_cast<double>(lost.recovered_ns - event.at_ns) / 1e9);
      }
    }
    faults.push_back(std::move(fault));
  }
  return faults;
}

}  // namespace fovea::bench
