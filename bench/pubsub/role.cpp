#include "bench/pubsub/role.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <limits>

#include <poll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"

namespace fovea::bench {
namespace {

constexpr double kWarmUpSeconds = 0.5;
constexpr std::size_t kMaxSamples = std::size_t{1} << 20;
constexpr int kPatienceMs = 200;
constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kSilenceNs = 2 * kSecondNs;  // then the last frame was lost
constexpr std::int64_t kLookAroundNs = kSecondNs / 5;

struct Usage {
  std::int64_t wall_ns = monotonic_ns();
  double cpu = 0;
  std::uint64_t switches = 0;
  Usage() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    switches = static_cast<std::uint64_t>(usage.ru_nvcsw + usage.ru_nivcsw);
  }
};

void add_usage(RoleReport& report, const Usage& begin, const Usage& end) {
  report.cpu_seconds = end.cpu - begin.cpu;
  report.seconds = static_cast<double>(end.wall_ns - begin.wall_ns) / 1e9;
  report.context_switches = end.switches - begin.switches;
}

void pause_ms(double ms) {
  const auto ns = static_cast<std::int64_t>(ms * 1e6);
  const timespec pause{ns / kSecondNs, ns % kSecondNs};
  nanosleep(&pause, nullptr);
}

void sleep_until(std::int64_t ns) {
  const timespec until{ns / kSecondNs, ns % kSecondNs};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

// Whoever started this process has died or wants no more of it: it closed our standard input.
// Thrown, so that what this process has in shared memory goes with it.
struct DriverGone {};

// Looks a few times a second, which costs a measurement nothing.
class DriverWatch {
 public:
  void look(std::int64_t now_ns) {
    if (now_ns < next_ns_) return;
    next_ns_ = now_ns + kLookAroundNs;
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, 0) == 1 && (input.revents & POLLHUP) != 0) throw DriverGone();
  }

 private:
  std::int64_t next_ns_ = 0;
};

void write_all(const void* data, std::size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = write(STDOUT_FILENO, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw DriverGone();
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
}

std::uint32_t clamp_ns(std::int64_t ns) {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(ns, 0, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

double percentile_us(std::vector<std::uint32_t>& samples_ns, double fraction) {
  if (samples_ns.empty()) return 0;
  const auto count = static_cast<double>(samples_ns.size());
  const auto rank = std::min(samples_ns.size() - 1, static_cast<std::size_t>(fraction * count));
  const auto at = samples_ns.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(samples_ns.begin(), at, samples_ns.end());
  return static_cast<double>(*at) / 1e3;
}

namespace {

int publish_frames(const Job& job) {
  const auto source = find_transport(job.transport)->source(job);
  DriverWatch driver;
  while (!source->joined(job.subscribers)) {
    pause_ms(1);
    driver.look(monotonic_ns());
  }
  char go = 0;
  if (read(STDIN_FILENO, &go, 1) != 1) throw DriverGone();

  RoleReport report;
  const auto period = job.hz > 0 ? static_cast<std::int64_t>(1e9 / job.hz) : 0;
  const std::int64_t start = monotonic_ns();
  const std::int64_t measured = start + static_cast<std::int64_t>(kWarmUpSeconds * 1e9);
  const std::int64_t end = measured + static_cast<std::int64_t>(job.seconds * 1e9);
  std::int64_t turn = start;
  Usage begin;
  bool warm_up = true;
  FrameHeader header;
  header.bytes = job.bytes;
  while (header.last == 0) {
    if (period > 0) sleep_until(turn += period);
    const std::int64_t now = monotonic_ns();
    driver.look(now);
    if (warm_up && now >= measured) {
      warm_up = false;
      begin = Usage();
      report = {};
    }
    const std::span<std::byte> frame = source->loan();
    if (frame.empty()) {
      ++report.not_loaned;
      if (now > end + 5 * kSecondNs) give_up("no room for a frame for seconds");
      continue;
    }
    header.warm_up = warm_up ? 1 : 0;
    header.last = now >= end ? 1 : 0;
    fill_pixels(frame, ++header.seq, job.touch);
    header.stamp_ns = monotonic_ns();
    std::memcpy(frame.data(), &header, sizeof header);
    source->publish();
    ++report.frames;
  }
  add_usage(report, begin, Usage());
  source->finish();
  pause_ms(kPatienceMs);  // what lies in sockets must not go with them
  write_all(&report, sizeof report);
  return 0;
}

int receive_frames(const Job& job) {
  const auto sink = find_transport(job.transport)->sink(job);
  DriverWatch driver;
  while (!sink->joined()) {
    pause_ms(1);
    driver.look(monotonic_ns());
  }
  write_all("R", 1);

  RoleReport report;
  std::vector<std::uint32_t> held, done;
  held.reserve(kMaxSamples);
  done.reserve(kMaxSamples);
  SoakReport part;
  const auto step = static_cast<std::int64_t>(job.report_seconds * 1e9);
  std::int64_t next_report = 0;
  Usage begin;
  std::uint64_t last_seq = 0;
  bool measuring = false;
  std::int64_t last_frame = 0;
  for (;;) {
    const std::span<const std::byte> frame = sink->receive(kPatienceMs);
    const std::int64_t held_at = monotonic_ns();
    driver.look(held_at);
    if (frame.size() < sizeof(FrameHeader)) {
      if (last_frame != 0 && held_at - last_frame > kSilenceNs) break;
      continue;
    }
    last_frame = held_at;
    FrameHeader header;
    std::memcpy(&header, frame.data(), sizeof header);
    const bool whole = intact(frame, header.seq, job.touch);
    const std::int64_t done_at = monotonic_ns();
    if (job.hold_ms > 0) pause_ms(job.hold_ms);
    sink->release();

    if (header.warm_up == 0) {
      if (!measuring) {
        measuring = true;
        begin = Usage();
        next_report = held_at + step;
      }
      ++report.frames;
      if (!whole) ++report.torn;
      if (header.seq <= last_seq) {
        ++report.disordered;
      } else if (last_seq != 0) {
        report.lost += header.seq - last_seq - 1;
      }
      if (held.size() < kMaxSamples) {
        held.push_back(clamp_ns(held_at - header.stamp_ns));
        done.push_back(clamp_ns(done_at - header.stamp_ns));
      }
      if (step > 0 && done_at >= next_report) {
        part = {report.frames,
                report.lost,
                report.torn,
                report.disordered,
                percentile_us(held, .5),
                percentile_us(held, .99),
                percentile_us(held, 1)};
        write_all(&part, sizeof part);
        report = {};
        held.clear();
        done.clear();
        next_report += step;
      }
    }
    last_seq = std::max(last_seq, header.seq);
    if (header.last != 0) break;
  }
  add_usage(report, begin, Usage());
  if (step > 0) return 0;
  report.samples = held.size();
  write_all(&report, sizeof report);
  write_all(held.data(), held.size() * sizeof held[0]);
  write_all(done.data(), done.size() * sizeof done[0]);
  return 0;
}

int end_in_order(int (*role)(const Job&), const Job& job) {
  std::signal(SIGPIPE, SIG_IGN);  // a driver that is gone is told by write()
  try {
    return role(job);
  } catch (const DriverGone&) {
    return 3;
  }
}

}  // namespace

int run_source(const Job& job) { return end_in_order(publish_frames, job); }
int run_sink(const Job& job) { return end_in_order(receive_frames, job); }

}  // namespace fovea::bench
