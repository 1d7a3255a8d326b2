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

#include "launch/bench/bench_config.hpp"
#include "launch/bench/pipeline_run.hpp"
#include "launch/bench/resources.hpp"
#include "launch/bench/statistics.hpp"
#include "nodes/base/result.hpp"

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

// Ten seconds, or one, or a minute, of a run.
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
// The highest rate that is kept up with, searched for as often as there are runs.
struct Peak {
  double limit = 0;               // largest loss allowed
  std::vector<double> rate;       // of each camera, Hz, by search; 0 = none was found
  std::vector<double> total_fps;  // of all cameras
  std::vector<std::vector<PeakStep>> steps;
};

// One value a run.
struct Rival {
  std::string name;
  std::string what;                    // one sentence
  std::vector<double> fps;             // all cameras together, as fast as it goes
  std::vector<double> p50_ms, p99_ms;  // from reading the frame to its detections
  std::vector<double> cpu_percent;
  std::vector<double> ratio;  // our peak, searched for just before, over its fps
  std::string missing;        // why there are no figures; empty if there are
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
  // One value a run.
  std::vector<double> fps, p50_ms, p99_ms;
  std::vector<double> cpu_ms_per_frame;  // of all cores, all processes of the pipeline
  std::vector<double> peak_fps;          // all cameras; empty without a search for it
  double loss = 0;                       // 0..1
  std::optional<double> map_50_95;       // 0..100
  bool on_front = false;                 // nothing is both faster and more accurate

  // Frames a second that tell settings apart: the peak where it was searched for.
  double speed() const { return bench::mean(peak_fps.empty() ? fps : peak_fps); }
};

struct Report {
  std::string command;
  std::string started;  // ISO 8601, UTC
  std::string version;
  BenchConfig config;
  InputHashes hashes;
  Host host;
  std::string engine;
  std::string turns;  // the same in two reports whose runs were made in turns; else empty

  std::vector<Figure> figures;
  std::vector<Spread> cameras;  // end-to-end latency of each camera
  Spread latency;               // of all
  std::vector<Spread> pieces;   // in a frame's order
  double piece_sum_ratio = 0;   // sum of the pieces' means over the mean latency
  // Latency at evenly spaced quantiles 0, 0.005 ... 1 of all frames, then finer to 0.9999.
  std::vector<std::pair<double, double>> distribution;
  std::vector<std::vector<Slice>> slices;  // by run
  double slice_s = 1;
  // Of each run that lasts two minutes or more: what heat or a leak would tell apart.
  struct Ends {
    Slice first, last;  // minute
  };
  std::vector<Ends> sustained;
  std::vector<std::string> stages;  // in the order in which frames pass them
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
