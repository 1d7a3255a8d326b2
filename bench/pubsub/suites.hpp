// The tables of the bench.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/pubsub/cell.hpp"

namespace fovea::bench {

// 64 B, VGA, 1080p and 4K in BGR.
struct FrameSize {
  const char* name;
  std::size_t bytes;
};
inline constexpr FrameSize kSizes[] = {{"64 B", 64},
                                       {"0.9 MB", 640 * 480 * 3},
                                       {"6.2 MB", 1920 * 1080 * 3},
                                       {"24.9 MB", 3840 * 2160 * 3}};
std::string size_name(std::size_t bytes);

struct Plan {
  std::vector<std::string> suites;      // names of suite_names()
  std::vector<std::string> transports;  // by name, in order
  std::vector<std::size_t> sizes;
  double hz = 60;
  double seconds = 4;  // per cell and round; the fast suites take a third
  int rounds = 2;
};

struct Suite {
  std::string name;
  std::string title;
  std::vector<Cell> cells;
};

// "latency", "fan-out", "every-byte", "rate", "rate-fan-out"
std::vector<std::string> suite_names();

// Runs the plan: every size's transports in turns, `rounds` times. `progress` is told what runs.
std::vector<Suite> run_plan(const Plan& plan,
                            const std::function<void(const std::string&)>& progress);

}  // namespace fovea::bench
