#include "bench/pubsub/soak.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/pubsub/cell.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::bench {
namespace {

constexpr int kCameras = 4;
constexpr double kSlowHoldMs = 300;  // 18 frames pass meanwhile
constexpr double kPatience = 20;

// Memory of its own, without what is shared, in MB.
double private_mb(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  std::string key;
  double kib = 0;
  while (status >> key) {
    if (key == "RssAnon:" && status >> kib) break;
  }
  return kib / 1024;
}

// Of this run's own, so that two runs do not meet.
std::string domain_prefix() { return fmt::format("soak{}-", getpid()); }

double shared_mb() {
  const std::string prefix = "fovea." + domain_prefix();
  const auto domain = Domain::open();
  double bytes = 0;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(domain->shm_directory(), ignored)) {
    if (file.path().filename().native().starts_with(prefix))
      bytes += static_cast<double>(file.file_size(ignored));
  }
  return bytes / (1 << 20);
}

}  // namespace

int run_soak(double seconds, double step_seconds) {
  Job job;
  job.transport = "fovea";
  job.bytes = 1920 * 1080 * 3;
  job.hz = 60;
  const int steps = std::max(1, static_cast<int>(seconds / step_seconds));
  job.seconds = steps * step_seconds + 2;
  job.report_seconds = step_seconds;

  std::vector<Crew> cameras(kCameras);
  for (int i = 0; i < kCameras; ++i) {
    // A domain per camera, because every source publishes the same topic.
    setenv("FOVEA_DOMAIN", fmt::format("{}{}", domain_prefix(), i).c_str(), 1);
    Job with_slow = job;
    with_slow.subscribers = i == 0 ? 2 : 1;
    Crew& crew = cameras[static_cast<std::size_t>(i)];
    crew.sources.emplace_back("source", with_slow);
    crew.sinks.emplace_back("sink", job);
    if (i == 0) {
      Job slow = job;
      slow.hold_ms = kSlowHoldMs;
      crew.sinks.emplace_back("sink", slow);
    }
  }
  std::vector<Child*> fast, all;
  Child* slow = &cameras[0].sinks[1];
  for (Crew& crew : cameras) {
    for (Child& sink : crew.sinks) {
      char ready = 0;
      if (!sink.read(&ready, 1, kPatience)) give_up("a subscriber does not start");
      all.push_back(&sink);
    }
    fast.push_back(&crew.sinks[0]);
    all.push_back(&crew.sources[0]);
  }
  for (Crew& crew : cameras) crew.sources[0].go();

  print_out(
      "4 cameras, 60 Hz, 1920x1080, page touched; one more subscriber of the first holds each "
      "frame for {:.0f} ms\n\n",
      kSlowHoldMs);
  print_out("{:>7} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>11} {:>10} {:>12} {:>11}\n", "s",
             "p50 us", "p99 us", "max us", "frames", "lost", "torn", "slow frames", "slow lost",
             "private MB", "shared MB");
  bool sound = true;
  for (int step = 1; step <= steps; ++step) {
    SoakReport sum, part, slow_part;
    double p50 = 0;
    for (Child* sink : fast) {
      if (!sink->read(&part, sizeof part, step_seconds + kPatience))
        give_up("a subscriber does not report");
      sum.frames += part.frames;
      sum.lost += part.lost;
      sum.torn += part.torn;
      sum.disordered += part.disordered;
      p50 = std::max(p50, part.p50_us);
      sum.p99_us = std::max(sum.p99_us, part.p99_us);
      sum.max_us = std::max(sum.max_us, part.max_us);
    }
    if (!slow->read(&slow_part, sizeof slow_part, step_seconds + kPatience))
      give_up("the slow subscriber does not report");
    double memory = 0;
    for (const Child* child : all) memory += private_mb(child->pid());
    print_out(
        "{:>7.0f} {:>9.1f} {:>9.1f} {:>9.1f} {:>8} {:>6} {:>6} {:>11} {:>10} {:>12.2f} {:>11.1f}\n",
        step * step_seconds, p50, sum.p99_us, sum.max_us, sum.frames, sum.lost,
        sum.torn + slow_part.torn, slow_part.frames, slow_part.lost, memory, shared_mb());
    std::fflush(stdout);
    sound =
        sound && sum.lost + sum.torn + sum.disordered + slow_part.torn + slow_part.disordered == 0;
  }
  print_out("\nlatencies are the worst of the four subscribers that keep up\n");
  return sound ? 0 : 1;
}

}  // namespace fovea::bench
