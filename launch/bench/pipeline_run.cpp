#include "launch/bench/pipeline_run.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <unistd.h>

#include "launch/bench/collector.hpp"
#include "launch/bench/resources.hpp"
#include "launch/bench/scratch_folder.hpp"
#include "launch/supervision/child_process.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/json.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/figures/chain.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto kTurn = 10ms;
constexpr auto kSecond = 1s;
constexpr auto kStartTimeout = 15min;  // an engine may have to be built
constexpr auto kEndTimeout = 2min;
constexpr std::size_t kQuotedLines = 12;

// What the nodes have counted since they started.
struct Counts {
  std::vector<std::string> stages;
  std::map<std::string, DropCounts> drops;
  std::map<std::uint32_t, std::uint64_t> batches;
  std::uint64_t captured = 0;
  std::uint64_t bytes_copied = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t deadlines_skipped = 0;
  std::uint64_t restarts = 0;
  std::string engine;
  std::map<std::string, pid_t> pids;
  std::map<std::string, ProcessUsage> usage;
  MachineUsage machine;
};

Counts read_counts(const Domain& domain) {
  Counts counts;
  std::vector<std::unique_ptr<MetricsReader>> pages;
  std::vector<const MetricsReader*> readers;
  for (const std::string& name : domain.list_nodes()) {
    auto page = MetricsReader::open(domain, name);
    if (!page) continue;
    pages.push_back(*std::move(page));
    readers.push_back(pages.back().get());
    const MetricsReader& reader = *pages.back();
    counts.pids[name] = static_cast<pid_t>(reader.pid());
    counts.restarts += reader.starts() > 0 ? reader.starts() - 1 : 0;
    for (const MetricSample& sample : reader.counters()) {
      if (sample.name == "bytes_copied") counts.bytes_copied += sample.value;
      if (sample.name == "bytes_written") counts.bytes_written += sample.value;
      if (sample.name == "deadlines_skipped") counts.deadlines_skipped += sample.value;
      if (sample.name == "engine_info" && sample.value > 0) counts.engine = sample.label;
      if (sample.name == "batches" && sample.value > 0)
        counts.batches[static_cast<std::uint32_t>(std::stoul(sample.label))] += sample.value;
    }
  }
  const std::vector<CameraChain> chains = follow_chains(readers);
  counts.stages = stage_types(chains);
  for (const CameraChain& chain : chains) {
    const std::vector<StageCounts> stages = read_chain(chain);
    counts.captured += stages.front().in;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      DropCounts& drops = counts.drops[chain.stages[i].page->type()];
      for (std::size_t reason = 0; reason < kDropReasons; ++reason)
        drops[reason] += stages[i].drops[reason];
    }
  }
  counts.machine = machine_usage();
  return counts;
}

std::string stamps_text(const FrameRecord& frame) {
  std::string text = fmt::format("due {}", frame.due);
  for (const msgs::StageStamp& stamp : frame.stages)
    text += fmt::format(", {} {} to {}", stamp.stage.view(), stamp.started, stamp.ended);
  return text + fmt::format(", received {}", frame.received);
}

class PipelineRun {
 public:
  PipelineRun(const BenchConfig& config, const RunOptions& options, const Domain& domain)
      : config_(config), options_(options), domain_(domain) {}

  Result<RunResult> run() {
    FOVEA_ASSIGN(collector_, Collector::start(domain_, config_.cameras));
    FOVEA_TRY(start_launcher());
    FOVEA_TRY(wait_until_it_runs());
    FOVEA_TRY(pass(config_.warmup_s, [](double) {}));
    FOVEA_TRY(measure());
    FOVEA_TRY(end_launcher());
    evaluate();
    FOVEA_TRY(check_books());
    return std::move(result_);
  }

 private:
  Result<> start_launcher() {
    if (scratch_.path().empty()) return fail_errno(ErrorCode::kInternal, "temporary folder");
    const fs::path file = scratch_.path() / "bench.launch.yaml";
    std::ofstream(file) << launch_file(config_);
    report_ = scratch_.path() / "report.json";
    FOVEA_ASSIGN(launcher_,
                 launch::ChildProcess::spawn({program(config_, "fovea"), "launch", file, "--domain",
                                              domain_.name(), "--json", report_, "--quiet"},
                                             {}));
    return {};
  }

  // The last lines that the launcher and the nodes printed, for an error.
  tl::unexpected<Error> fail_with_output(std::string_view what) {
    read_output();
    return fail(ErrorCode::kInternal,
                fmt::format("{}; its last words:\n  {}", what, fmt::join(output_, "\n  ")));
  }

  void read_output() {
    if (launcher_->output_fd() < 0) return;
    launcher_->read_output([this](std::string_view line) {
      output_.emplace_back(line);
      if (output_.size() > kQuotedLines) output_.erase(output_.begin());
    });
  }

  // One turn of every loop here: false once the launcher has ended.
  bool turn() {
    std::this_thread::sleep_for(kTurn);
    read_output();
    if (!exit_) exit_ = launcher_->reap();
    return !exit_;
  }

  Result<> wait_until_it_runs() {
    const auto give_up = std::chrono::steady_clock::now() + kStartTimeout;
    const auto delivers = [this] {
      const auto received = collector_->received();
      return std::all_of(received.begin(), received.end(), [](auto count) { return count > 0; });
    };
    while (!delivers()) {
      if (!turn())
        return fail_with_output(
            fmt::format("the pipeline {} before every camera had delivered", to_string(*exit_)));
      if (Executor::stop_signalled()) return fail(ErrorCode::kUnavailable, "interrupted");
      if (std::chrono::steady_clock::now() > give_up)
        return fail_with_output("some camera delivers nothing");
    }
    return {};
  }

  Result<> pass(double seconds, const std::function<void(double)>& on_turn) {
    const std::int64_t begin = monotonic_ns();
    for (;;) {
      const double at = static_cast<double>(monotonic_ns() - begin) / 1e9;
      if (at >= seconds) return {};
      on_turn(at);
      if (!turn()) return fail_with_output(fmt::format("the pipeline {}", to_string(*exit_)));
      if (Executor::stop_signalled()) return fail(ErrorCode::kUnavailable, "interrupted");
    }
  }

  Result<> measure() {
    before_ = read_counts(domain_);
    std::map<std::string, ProcessUsage> first = usage_of(before_);
    result_.begin_ns = monotonic_ns();
    MachineUsage last = before_.machine;
    double next_second = 1;
    std::map<std::string, ProcessFigures> peak;
    FOVEA_TRY(pass(config_.duration_s, [&](double at) {
      if (options_.disturbance != nullptr) options_.disturbance->turn(at);
      if (at < next_second) return;
      next_second += 1;
      const MachineUsage now = machine_usage();
      result_.seconds.push_back({at, busy_percent(last, now), temperatures()});
      last = now;
      note_memory(before_, peak);
    }));
    result_.end_ns = monotonic_ns();
    after_ = read_counts(domain_);
    note_memory(after_, peak);
    for (const auto& [name, usage] : usage_of(after_)) {
      ProcessFigures& figures = peak[name];
      figures.name = name;
      // A process that was restarted within the window counts from its own start.
      const auto earlier = first.find(name);
      const bool same = earlier != first.end() && earlier->second.cpu_s <= usage.cpu_s;
      const double spent = usage.cpu_s - (same ? earlier->second.cpu_s : 0);
      figures.cpu_percent = 100 * spent / result_.seconds_long();
    }
    for (auto& [name, figures] : peak) {
      if (!figures.name.empty()) result_.processes.push_back(figures);
    }
    result_.machine_cpu_percent = busy_percent(before_.machine, after_.machine);
    return {};
  }

  static double busy_percent(const MachineUsage& from, const MachineUsage& to) {
    const double total = to.total_s - from.total_s;
    return total > 0 ? 100 * (to.busy_s - from.busy_s) / total : 0;
  }

  std::map<std::string, ProcessUsage> usage_of(const Counts& counts) const {
    std::map<std::string, ProcessUsage> all;
    const auto add = [&](const std::string& name, pid_t pid) {
      if (const auto usage = process_usage(pid)) all[name] = *usage;
    };
    for (const auto& [name, pid] : counts.pids) add(name, pid);
    add("launch", launcher_->pid());
    add("bench", getpid());
    return all;
  }

  void note_memory(const Counts& counts, std::map<std::string, ProcessFigures>& peak) const {
    for (const auto& [name, usage] : usage_of(counts)) {
      ProcessFigures& figures = peak[name];
      figures.rss_mb = std::max(figures.rss_mb, static_cast<double>(usage.rss) / 1e6);
      figures.shared_mb = std::max(figures.shared_mb, static_cast<double>(usage.shared) / 1e6);
    }
  }

  Result<> end_launcher() {
    launcher_->signal(SIGINT);
    const auto give_up = std::chrono::steady_clock::now() + kEndTimeout;
    while (turn()) {
      if (std::chrono::steady_clock::now() > give_up)
        return fail_with_output("the pipeline does not end");
    }
    if (!exit_->success()) return fail_with_output("the pipeline " + to_string(*exit_));
    const auto text = read_text_file(report_);
    const Json report = text ? parse_json(*text) : Json();
    if (!report.is_object() || !report.contains("cameras"))
      return fail_with_output("the launcher left no report");
    for (std::size_t i = 0; i < config_.cameras; ++i) {
      CameraCount count;
      count.name = camera_name(i);
      const Json camera = report["cameras"].value(count.name, Json::object());
      count.captured_total = camera.value("captured", std::uint64_t{0});
      count.delivered_total = camera.value("delivered", std::uint64_t{0});
      const Json drops = camera.value("drops", Json::object());
      for (const auto& [reason, number] : drops.items())
        count.dropped_total += number.get<std::uint64_t>();
      result_.cameras.push_back(count);
    }
    return {};
  }

  void evaluate() {
    const auto received = collector_->received();
    const auto within = [&](std::int64_t ns) {
      return ns >= result_.begin_ns && ns < result_.end_ns;
    };
    all_frames_ = collector_->frames();
    for (const FrameRecord& frame : all_frames_) {
      if (!within(frame.due)) continue;
      result_.frames.push_back(frame);
      ++result_.cameras[frame.camera].delivered;
    }
    for (std::size_t i = 0; i < result_.cameras.size(); ++i) {
      CameraCount& camera = result_.cameras[i];
      camera.received_total = received[i];
      camera.offered = offered(static_cast<std::uint32_t>(i));
    }
    result_.stages = after_.stages;
    for (const std::string& stage : after_.stages) {
      DropCounts& drops = result_.drops[stage];
      for (std::size_t i = 0; i < kDropReasons; ++i)
        drops[i] = after_.drops[stage][i] - before_.drops[stage][i];
    }
    result_.batches = after_.batches;
    for (const auto& [size, number] : before_.batches) result_.batches[size] -= number;
    std::erase_if(result_.batches, [](const auto& entry) { return entry.second == 0; });
    const auto frames =
        static_cast<double>(std::max<std::uint64_t>(after_.captured - before_.captured, 1));
    result_.bytes_copied_per_frame =
        static_cast<double>(after_.bytes_copied - before_.bytes_copied) / frames;
    result_.bytes_written_per_frame =
        static_cast<double>(after_.bytes_written - before_.bytes_written) / frames;
    result_.deadlines_skipped = after_.deadlines_skipped - before_.deadlines_skipped;
    result_.engine = after_.engine;
    result_.restarts = after_.restarts - before_.restarts;
  }

  // What the load was meant to be, whatever became of it.
  std::uint64_t offered(std::uint32_t camera) const {
    const auto any = std::find_if(all_frames_.begin(), all_frames_.end(),
                                  [&](const FrameRecord& frame) { return frame.camera == camera; });
    if (config_.rate != kMaxRate)
      return grid_points(result_.begin_ns, result_.end_ns, any->due, config_.rate);
    // No grid: frame numbers tell how many the camera took between the first and the last
    // delivered.
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    for (const FrameRecord& frame : result_.frames) {
      if (frame.camera != camera) continue;
      if (first == 0) first = frame.seq;
      last = frame.seq;
    }
    return first == 0 ? 0 : last - first + 1;
  }

  Result<> check_books() const {
    for (const CameraCount& camera : result_.cameras) {
      if (camera.captured_total != camera.delivered_total + camera.dropped_total)
        return fail(
            ErrorCode::kInternal,
            fmt::format("{}: the books do not balance: captured {}, delivered {}, dropped {}",
                        camera.name, camera.captured_total, camera.delivered_total,
                        camera.dropped_total));
      if (camera.received_total > camera.delivered_total)
        return fail(ErrorCode::kInternal,
                    fmt::format("{}: received {} of {} delivered frames", camera.name,
                                camera.received_total, camera.delivered_total));
      if (camera.delivered > camera.offered)
        return fail(ErrorCode::kInternal,
                    fmt::format("{}: {} frames came of {} that were offered", camera.name,
                                camera.delivered, camera.offered));
    }
    for (const FrameRecord& frame : result_.frames) {
      if (!stamps_in_order(frame) || !passed(frame, result_.stages))
        return fail(ErrorCode::kInternal,
                    fmt::format("{}: frame {}: its stamps are not in order, or not those of the "
                                "stages {}: {}",
                                camera_name(frame.camera), frame.seq,
                                fmt::join(result_.stages, ", "), stamps_text(frame)));
    }
    return {};
  }

  const BenchConfig& config_;
  const RunOptions& options_;
  const Domain& domain_;
  ScratchFolder scratch_;
  fs::path report_;
  std::unique_ptr<Collector> collector_;
  std::unique_ptr<launch::ChildProcess> launcher_;
  std::optional<launch::ExitStatus> exit_;
  std::vector<std::string> output_;
  Counts before_, after_;
  std::vector<FrameRecord> all_frames_;
  RunResult result_;
};

}  // namespace

std::uint64_t RunResult::offered() const {
  std::uint64_t sum = 0;
  for (const CameraCount& camera : cameras) sum += camera.offered;
  return sum;
}

std::uint64_t RunResult::delivered() const {
  std::uint64_t sum = 0;
  for (const CameraCount& camera : cameras) sum += camera.delivered;
  return sum;
}

double RunResult::loss() const {
  return offered() == 0 ? 0 : 1 - static_cast<double>(delivered()) / static_cast<double>(offered());
}

std::uint64_t grid_points(std::int64_t begin, std::int64_t end, std::int64_t point, double rate) {
  const double period = 1e9 / rate;
  // Instants are rounded to whole ns; half of one decides on which side of a border they lie.
  const auto first_at_or_after = [&](std::int64_t border) {
    return std::ceil((static_cast<double>(border - point) - 0.5) / period);
  };
  return static_cast<std::uint64_t>(
      std::max(first_at_or_after(end) - first_at_or_after(begin), 0.0));
}

Result<RunResult> run_pipeline(const BenchConfig& config, const RunOptions& options) {
  FOVEA_ASSIGN(const Domain domain, Domain::open(options.domain));
  return PipelineRun(config, options, domain).run();
}

}  // namespace fovea::bench
