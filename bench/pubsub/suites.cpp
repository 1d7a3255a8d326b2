#include "bench/pubsub/suites.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

struct SuiteKind {
  const char* name;
  const char* title;
  int subscribers;
  bool paced;
  Touch touch;
  std::size_t least_bytes;
};

constexpr SuiteKind kKinds[] = {
    {"latency", "paced, 1 -> 1, a byte per page touched", 1, true, Touch::kPage, 0},
    {"fan-out", "paced, 1 -> 3, a byte per page touched", 3, true, Touch::kPage, 0},
    {"every-byte", "paced, 1 -> 1, every byte written and read", 1, true, Touch::kEveryByte,
     1 << 20},
    {"rate", "as fast as possible, 1 -> 1, a byte per page touched", 1, false, Touch::kPage, 0},
    {"rate-fan-out", "as fast as possible, 1 -> 3, a byte per page touched", 3, false, Touch::kPage,
     0},
};

}  // namespace

std::string size_name(std::size_t bytes) {
  for (const FrameSize& size : kSizes) {
    if (size.bytes == bytes) return size.name;
  }
  return fmt::format("{} B", bytes);
}

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  for (const SuiteKind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

std::vector<Suite> run_plan(const Plan& plan,
                            const std::function<void(const std::string&)>& progress) {
  std::vector<Suite> suites;
  for (const SuiteKind& kind : kKinds) {
    if (std::find(plan.suites.begin(), plan.suites.end(), kind.name) == plan.suites.end()) continue;
    Suite suite{kind.name, kind.title, {}};
    for (const std::size_t bytes : plan.sizes) {
      if (bytes < kind.least_bytes) continue;
      const std::size_t first = suite.cells.size();
      for (const std::string& transport : plan.transports) {
        Cell cell;
        cell.job.transport = transport;
        cell.job.bytes = bytes;
        cell.job.subscribers = kind.subscribers;
        cell.job.hz = kind.paced ? plan.hz : 0;
        cell.job.seconds = kind.paced ? plan.seconds : plan.seconds / 3;
        cell.job.touch = kind.touch;
        suite.cells.push_back(std::move(cell));
      }
      for (int round = 0; round < plan.rounds; ++round) {
        for (std::size_t i = first; i < suite.cells.size(); ++i) {
          if (Executor::stop_signalled()) break;
          Cell& cell = suite.cells[i];
          progress(fmt::format("{}, {}, {}, round {} of {}", kind.name, size_name(bytes),
                               cell.job.transport, round + 1, plan.rounds));
          run_round(cell);
        }
      }
    }
    suites.push_back(std::move(suite));
  }
  return suites;
}

}  // namespace fovea::bench
