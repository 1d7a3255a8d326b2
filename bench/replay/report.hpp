// What a bench found out: figures with their confidence, in a form that is printed, drawn, written
// as JSON and read back for comparison. README.md describes the JSON.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/replay/bench_config.hpp"
#include "bench/replay/pipeline_run.hpp"
#include "bench/replay/resources.hpp"
#include "bench/replay/statistics.hpp"
#include "nodes/runtime/result.hpp"

namespace fovea::bench {

enum class Better { kLower, kHigher, kNeither };

// One quantity, measured once in each run.
struct Figure {
  std::string name;  // "latency_ms.p99", "piece_ms.engine.p50", "fps", "cpu_percent.detector"
  std::string unit;
  Better better = Better::kLower;
  std::vector<double> runs;

  double mean() const { return bench::mean(runs); }
  Interval interval() const { return confidence_interval(runs); }
};

inline constexpr std::array<std::pair<std::string_view, double>, 5> kQuantiles{
    {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p99_9", 0.999}}};

// Quantiles of one quantity over the frames of all runs.
struct Spread {
  std::string name;
  std::uint64_t count = 0;
  double mean = 0, min = 0, max = 0;
  std::array<double, kQuantiles.size()> quantiles{};
};

// Ten seconds, or one, of a run.
struct Slice {
  double at_s = 0;  // where it begins, since the window began
  double fps = 0;
  double p50_ms = 0, p99_ms = 0;  // 0 when nothing was delivered
  double cpu_percent = 0;         // of the whole machine
  double hottest_c = 0;           // highest temperature; 0 where none can be read
};

// The field names of NVIDIA's ros2_benchmark, computed as it computes them.
using Ros2Metrics = std::vector<std::pair<std::string, double>>;

struct PeakStep {
  double rate = 0;
  double loss = 0;  // 0..1
  bool kept_up = false;
};
struct Peak {
  double limit = 0;  // largest loss allowed
  double rate = 0;   // of each camera, Hz; 0 = none was found
  double total_fps = 0;
  std::vector<PeakStep> steps;
};

struct Rival {
  std::string name;
  std::string what;   // one sentence
  double fps = 0;     // all cameras together, as fast as it goes
  double p50_ms = 0;  // from reading the frame to its detections
  double p99_ms = 0;
  double cpu_percent = 0;
  double ratio = 0;     // our fps over this
  std::string missing;  // why there are no figures; empty if there are
};

// A fault and what it cost.
struct Fault {
  std::string name;
  double at_s = 0;
  double recovered_s =
      -1;  // from the fault to the first frame due after it that arrived; -1 = never
  std::uint64_t lost = 0;  // frames that were due while it lasted and never arrived
  std::string detail;
};

// A setting of a sweep and what it reached.
struct SweepPoint {
  std::uint32_t cameras = 0;
  std::string precision;
  std::string model;
  std::uint32_t batch = 0;
  double fps = 0;
  double p50_ms = 0, p99_ms = 0;
  double cpu_ms_per_frame = 0;  // of all cores, all processes of the pipeline
  double loss = 0;
  std::optional<double> map_50_95;  // 0..100
  bool on_front = false;            // nothing is both faster and more accurate
};

struct Report {
  std::string command;
  std::string started;  // ISO 8601, UTC
  std::string version;
  BenchConfig config;
  InputHashes hashes;
  Host host;
  std::string engine;

  std::vector<Figure> figures;
  std::vector<Spread> cameras;  // end-to-end latency of each camera
  Spread latency;               // of all
  std::vector<Spread> pieces;   // in a frame's order
  double piece_sum_ratio = 0;   // sum of the pieces' means over the mean latency
  // Latency at evenly spaced quantiles 0, 0.005 ... 1 of all frames, then finer to 0.9999.
  std::vector<std::pair<double, double>> distribution;
  std::vector<std::vector<Slice>> slices;  // by run
  double slice_s = 1;
  std::map<std::string, DropCounts> drops;
  std::map<std::uint32_t, std::uint64_t> batches;
  std::vector<std::vector<CameraCount>> books;  // by run
  Ros2Metrics ros2;

  std::optional<Peak> peak;
  std::vector<Rival> rivals;
  std::vector<Fault> faults;
  std::vector<SweepPoint> sweep;

  const Figure* find(std::string_view name) const;
};

// Everything that follows from `runs`. REQUIRES: at least one run.
void evaluate(Report& report, const std::vector<RunResult>& runs);

Spread spread_of(std::string name, std::vector<double> values);
Ros2Metrics ros2_metrics(const std::vector<RunResult>& runs);

// Fails when the pieces of the frames' latencies do not add up to within 1 % of it.
Result<> check_piece_sum(const Report& report);

std::string to_json(const Report& report);
// What comparison needs: config, hashes, host, figures. Errors: kCorrupt with what is missing.
Result<Report> report_from_json(std::string_view text, std::string_view name);

std::string to_table(const Report& report);
std::string to_html(const Report& report);

}  // namespace fovea::bench
