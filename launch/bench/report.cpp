// Runs in, figures out. JSON, table and page lie in report_json.cpp, report_table.cpp and
// report_html.cpp.
#include "launch/bench/report.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/core.h>

namespace fovea::bench {
namespace {

constexpr double kLongRun = 60;  // from here on slices last ten seconds
constexpr double kMinute = 60;
constexpr double kPieceSumTolerance = 0.01;

class Figures {
 public:
  explicit Figures(std::vector<Figure>& figures) : figures_(figures) {}

  void add(std::string name, std::string_view unit, Better better, double value) {
    auto found = std::find_if(figures_.begin(), figures_.end(),
                              [&](const Figure& figure) { return figure.name == name; });
    if (found == figures_.end()) {
      figures_.push_back({std::move(name), std::string(unit), better, {}});
      found = std::prev(figures_.end());
    }
    found->runs.push_back(value);
  }

  void add_quantiles(const std::string& name, std::vector<double> values) {
    const double average = mean(values);
    const Sorted sorted(std::move(values));
    for (const auto& [label, q] : kQuantiles)
      add(fmt::format("{}.{}", name, label), "ms", Better::kLower, sorted.quantile(q));
    add(name + ".mean", "ms", Better::kLower, average);
    add(name + ".max", "ms", Better::kLower, sorted.max());
  }

 private:
  std::vector<Figure>& figures_;
};

std::vector<double> collect(const RunResult& run,
                            const std::function<double(const FrameRecord&)>& value) {
  std::vector<double> values;
  values.reserve(run.frames.size());
  for (const FrameRecord& frame : run.frames) values.push_back(value(frame));
  return values;
}

double overhead_ms(const FrameRecord& frame) { return latency_ms(frame) - engine_ms(frame); }

// How much the time between two frames of a camera differs from the time before, as ros2_benchmark
// has it, over all cameras.
std::vector<double> jitters(const RunResult& run) {
  std::vector<double> values;
  for (std::uint32_t camera = 0; camera < run.cameras.size(); ++camera) {
    std::vector<double> arrivals;
    for (const FrameRecord& frame : run.frames) {
      if (frame.camera == camera) arrivals.push_back(static_cast<double>(frame.received) / 1e6);
    }
    for (std::size_t i = 2; i < arrivals.size(); ++i)
      values.push_back(std::abs(arrivals[i] - 2 * arrivals[i - 1] + arrivals[i - 2]));
  }
  return values;
}

double cpu_ms_per_frame(const RunResult& run) {
  double percent = 0;
  for (const ProcessFigures& process : run.processes) {
    if (process.name != "bench") percent += process.cpu_percent;
  }
  const auto frames = static_cast<double>(std::max<std::uint64_t>(run.delivered(), 1));
  return percent / 100 * run.seconds_long() * 1e3 / frames;
}

void add_run(Figures& figures, const RunResult& run) {
  figures.add_quantiles("latency_ms", collect(run, latency_ms));
  figures.add_quantiles("overhead_ms", collect(run, overhead_ms));
  for (std::size_t i = 0; !run.frames.empty() && i < pieces(run.frames.front()); ++i)
    figures.add_quantiles(fmt::format("piece_ms.{}", piece_name(run.frames.front(), i)),
                          collect(run, [i](const FrameRecord& f) { return piece_ms(f, i); }));
  figures.add_quantiles("jitter_ms", jitters(run));
  figures.add("fps", "1/s", Better::kHigher,
              static_cast<double>(run.delivered()) / run.seconds_long());
  figures.add("loss_percent", "%", Better::kLower, 100 * run.loss());
  figures.add("cpu_ms_per_frame", "ms", Better::kLower, cpu_ms_per_frame(run));
  figures.add("cpu_percent.machine", "%", Better::kLower, run.machine_cpu_percent);
  for (const ProcessFigures& process : run.processes) {
    figures.add("cpu_percent." + process.name, "%", Better::kLower, process.cpu_percent);
    figures.add("rss_mb." + process.name, "MB", Better::kLower, process.rss_mb);
    figures.add("shared_mb." + process.name, "MB", Better::kNeither, process.shared_mb);
  }
  double batches = 0;
  double batched = 0;
  for (const auto& [size, number] : run.batches) {
    batches += static_cast<double>(number);
    batched += static_cast<double>(number) * size;
  }
  figures.add("batch_size.mean", "frames", Better::kNeither, batches > 0 ? batched / batches : 0);
  figures.add("bytes_copied_per_frame", "B", Better::kLower, run.bytes_copied_per_frame);
  figures.add("bytes_written_per_frame", "B", Better::kNeither, run.bytes_written_per_frame);
  figures.add("deadlines_skipped", "frames", Better::kLower,
              static_cast<double>(run.deadlines_skipped));
}

Slice slice_of(const RunResult& run, double at_s, double length_s) {
  Slice slice;
  slice.at_s = at_s;
  std::vector<double> latencies;
  for (const FrameRecord& frame : run.frames) {
    const double due_s = static_cast<double>(frame.due - run.begin_ns) / 1e9;
    if (due_s >= at_s && due_s < at_s + length_s) latencies.push_back(latency_ms(frame));
  }
  slice.fps = static_cast<double>(latencies.size()) / length_s;
  const Sorted sorted(std::move(latencies));
  slice.p50_ms = sorted.quantile(0.5);
  slice.p99_ms = sorted.quantile(0.99);
  std::vector<double> cpu;
  for (const Second& second : run.seconds) {
    if (second.at_s <= at_s || second.at_s > at_s + length_s + 0.1) continue;
    cpu.push_back(second.cpu_percent);
    for (const auto& [sensor, degrees] : second.temperatures)
      slice.hottest_c = std::max(slice.hottest_c, degrees);
  }
  slice.cpu_percent = mean(cpu);
  return slice;
}

std::vector<Slice> slices_of(const RunResult& run, double slice_s) {
  const auto count =
      static_cast<std::size_t>(std::max(std::floor(run.seconds_long() / slice_s + 0.01), 1.0));
  std::vector<Slice> slices;
  for (std::size_t i = 0; i < count; ++i)
    slices.push_back(slice_of(run, static_cast<double>(i) * slice_s, slice_s));
  return slices;
}

std::vector<std::pair<double, double>> distribution_of(const Sorted& sorted) {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i <= 200; ++i) points.emplace_back(i / 200.0, sorted.quantile(i / 200.0));
  for (const double q : {0.9975, 0.999, 0.9995, 0.9999}) points.emplace_back(q, sorted.quantile(q));
  std::sort(points.begin(), points.end());
  return points;
}

}  // namespace

const Figure* Report::find(std::string_view name) const {
  const auto found = std::find_if(figures.begin(), figures.end(),
                                  [&](const Figure& figure) { return figure.name == name; });
  return found == figures.end() ? nullptr : &*found;
}

Spread spread_of(std::string name, std::vector<double> values) {
  Spread spread;
  spread.name = std::move(name);
  spread.count = values.size();
  spread.mean = mean(values);
  const Sorted sorted(std::move(values));
  spread.min = sorted.min();
  spread.max = sorted.max();
  for (std::size_t i = 0; i < kQuantiles.size(); ++i)
    spread.quantiles[i] = sorted.quantile(kQuantiles[i].second);
  return spread;
}

void evaluate(Report& report, const std::vector<RunResult>& runs) {
  report.figures.clear();
  Figures figures(report.figures);
  for (const RunResult& run : runs) add_run(figures, run);

  const auto pooled = [&](const std::function<double(const FrameRecord&)>& value,
                          std::optional<std::uint32_t> camera = std::nullopt) {
    std::vector<double> values;
    for (const RunResult& run : runs) {
      for (const FrameRecord& frame : run.frames) {
        if (!camera || frame.camera == *camera) values.push_back(value(frame));
      }
    }
    return values;
  };
  report.latency = spread_of("all", pooled(latency_ms));
  report.distribution = distribution_of(Sorted(pooled(latency_ms)));
  report.cameras.clear();
  for (std::uint32_t i = 0; i < runs.front().cameras.size(); ++i)
    report.cameras.push_back(spread_of(runs.front().cameras[i].name, pooled(latency_ms, i)));
  report.pieces.clear();
  double sum = 0;
  const auto any = std::find_if(runs.begin(), runs.end(),
                                [](const RunResult& run) { return !run.frames.empty(); });
  for (std::size_t i = 0; any != runs.end() && i < pieces(any->frames.front()); ++i) {
    report.pieces.push_back(
        spread_of(piece_name(any->frames.front(), i),
                  pooled([i](const FrameRecord& frame) { return piece_ms(frame, i); })));
    sum += report.pieces.back().mean;
  }
  report.piece_sum_ratio = report.latency.mean > 0 ? sum / report.latency.mean : 0;

  report.slice_s = runs.front().seconds_long() >= kLongRun ? 10 : 1;
  report.slices.clear();
  report.sustained.clear();
  report.books.clear();
  report.stages = runs.front().stages;
  report.drops.clear();
  report.batches.clear();
  for (const RunResult& run : runs) {
    report.slices.push_back(slices_of(run, report.slice_s));
    // A window ends a few ms late.
    if (const double last = std::floor(run.seconds_long()) - kMinute; last >= kMinute)
      report.sustained.push_back({slice_of(run, 0, kMinute), slice_of(run, last, kMinute)});
    report.books.push_back(run.cameras);
    for (const auto& [stage, drops] : run.drops) {
      for (std::size_t i = 0; i < kDropReasons; ++i) report.drops[stage][i] += drops[i];
    }
    for (const auto& [size, number] : run.batches) report.batches[size] += number;
  }
  report.engine = runs.front().engine;
  report.ros2 = ros2_metrics(runs);
}

Result<> check_piece_sum(const Report& report) {
  if (report.latency.count == 0)
    return fail(ErrorCode::kInternal, "no frame that was due in the window arrived");
  if (std::abs(report.piece_sum_ratio - 1) <= kPieceSumTolerance) return {};
  return fail(ErrorCode::kInternal,
              fmt::format("the pieces of the latency add up to {:.1f} % of it; 99..101 % are "
                          "rounding, anything else is a lost stamp",
                          100 * report.piece_sum_ratio));
}

Ros2Metrics ros2_metrics(const std::vector<RunResult>& runs) {
  std::map<std::string, std::vector<double>> values;
  for (const RunResult& run : runs) {
    const auto add = [&](const char* name, double value) {
      values[fmt::format("BasicPerformanceMetrics.{}", name)].push_back(value);
    };
    if (run.frames.empty()) continue;
    const auto [first_received, last_received] =
        std::minmax_element(run.frames.begin(), run.frames.end(),
                            [](const auto& a, const auto& b) { return a.received < b.received; });
    const auto [first_sent, last_sent] =
        std::minmax_element(run.frames.begin(), run.frames.end(),
                            [](const auto& a, const auto& b) { return a.due < b.due; });
    const double received_ms =
        static_cast<double>(last_received->received - first_received->received) / 1e6;
    const double sent_ms = static_cast<double>(last_sent->due - first_sent->due) / 1e6;
    const auto offered = static_cast<double>(run.offered());
    const auto delivered = static_cast<double>(run.delivered());
    add("RECEIVED_DURATION", received_ms);
    if (sent_ms > 0) add("MEAN_PLAYBACK_FRAME_RATE", offered / sent_ms * 1e3);
    if (received_ms > 0) add("MEAN_FRAME_RATE", delivered / received_ms * 1e3);
    add("NUM_MISSED_FRAMES", offered - delivered);
    add("NUM_FRAMES_SENT", offered);
    add("FIRST_SENT_RECEIVED_LATENCY",
        static_cast<double>(first_received->received - first_sent->due) / 1e6);
    add("LAST_SENT_RECEIVED_LATENCY",
        static_cast<double>(last_received->received - last_sent->due) / 1e6);
    add("FIRST_INPUT_LATENCY", latency_ms(*first_sent));
    add("LAST_INPUT_LATENCY", latency_ms(*last_sent));
    const Spread latency = spread_of("", collect(run, latency_ms));
    add("MAX_LATENCY", latency.max);
    add("MIN_LATENCY", latency.min);
    add("MEAN_LATENCY", latency.mean);
    const std::vector<double> jitter = jitters(run);
    const Spread spread = spread_of("", jitter);
    add("MAX_JITTER", spread.max);
    add("MIN_JITTER", spread.min);
    add("MEAN_JITTER", spread.mean);
    add("STD_DEV_JITTER", standard_deviation(jitter));
    std::vector<double> cpu;
    for (const Second& second : run.seconds) cpu.push_back(second.cpu_percent);
    const Spread load = spread_of("", cpu);
    values["ResourceMetrics.MAX_OVERALL_CPU_UTILIZATION"].push_back(load.max);
    values["ResourceMetrics.MIN_OVERALL_CPU_UTILIZATION"].push_back(load.min);
    values["ResourceMetrics.MEAN_OVERALL_CPU_UTILIZATION"].push_back(run.machine_cpu_percent);
    values["ResourceMetrics.STDDEV_OVERALL_CPU_UTILIZATION"].push_back(standard_deviation(cpu));
  }
  Ros2Metrics metrics;
  for (const auto& [name, runs_of] : values) {
    const Spread all = spread_of("", runs_of);
    // Extremes stay extremes; the rest are means over the runs.
    const bool is_max = name.find(".MAX_") != std::string::npos;
    const bool is_min = name.find(".MIN_") != std::string::npos;
    metrics.emplace_back(name, is_max ? all.max : is_min ? all.min : all.mean);
  }
  return metrics;
}

}  // namespace fovea::bench
