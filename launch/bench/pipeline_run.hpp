// One run of the real pipeline: the real launcher and processes, load that does not wait for
// anybody, and everything that can be known about what became of it.
//
// Thread safety: one run at a time per process and domain.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/bench/bench_config.hpp"
#include "launch/bench/frame_record.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/figures/ledger.hpp"

namespace fovea::bench {

struct ProcessFigures {
  std::string name;        // the node's, or `launch` and `bench`
  double cpu_percent = 0;  // of one core, within the window
  double rss_mb = 0;       // largest within the window, shared memory included
  double shared_mb = 0;
};

// One second of the window.
struct Second {
  double at_s = 0;         // since the window began
  double cpu_percent = 0;  // of the whole machine, 0..100
  std::vector<std::pair<std::string, double>> temperatures;
};

struct CameraCount {
  std::string name;
  // Within the window, by the instants at which frames were due.
  std::uint64_t offered = 0;
  std::uint64_t delivered = 0;  // of those, received by the bench
  // From first to last process of the run, by the ledger.
  std::uint64_t captured_total = 0;
  std::uint64_t delivered_total = 0;
  std::uint64_t dropped_total = 0;
  std::uint64_t received_total = 0;  // by the bench
};

using DropCounts = std::array<std::uint64_t, kDropReasons>;

struct RunResult {
  std::int64_t begin_ns = 0;  // the window, CLOCK_MONOTONIC
  std::int64_t end_ns = 0;
  std::vector<FrameRecord> frames;  // due within the window and received
  std::vector<CameraCount> cameras;
  // Within the window.
  std::vector<std::string> stages;          // types of the nodes that frames pass, in their order
  std::map<std::string, DropCounts> drops;  // by stage
  std::uint64_t deadlines_skipped = 0;      // frames that a late camera never took
  std::map<std::uint32_t, std::uint64_t> batches;  // frames in a batch -> batches
  double bytes_copied_per_frame = 0;
  double bytes_written_per_frame = 0;
  double machine_cpu_percent = 0;
  std::vector<ProcessFigures> processes;
  std::vector<Second> seconds;
  std::string engine;  // "cpu/int8"
  std::uint64_t restarts = 0;

  double seconds_long() const { return static_cast<double>(end_ns - begin_ns) / 1e9; }
  std::uint64_t offered() const;
  std::uint64_t delivered() const;
  double loss() const;  // 0..1 of what was offered
};

// What happens to the pipeline during the window.
class Disturbance {
 public:
  virtual ~Disturbance() = default;
  // Called at least every 20 ms within the window.
  virtual void turn(double seconds_into_window) = 0;
};

struct RunOptions {
  std::string domain;  // not in use
  Disturbance* disturbance = nullptr;
};

// Runs the pipeline once: start, warm-up, window, end. The books are checked: for every camera
// captured = delivered + sum of drops, no more received than delivered, and stamps in order.
// Errors: kInternal with the nodes' own words when the pipeline does not start or ends early, or
// when the books do not balance.
Result<RunResult> run_pipeline(const BenchConfig& config, const RunOptions& options);

// Instants in [begin, end) of a grid through `point` with `rate` a second.
std::uint64_t grid_points(std::int64_t begin, std::int64_t end, std::int64_t point, double rate);

}  // namespace fovea::bench
