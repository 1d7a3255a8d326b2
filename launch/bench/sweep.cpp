#include "launch/bench/sweep.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "launch/install_paths.hpp"
#include "launch/supervision/child_process.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

std::vector<double> runs_of(const Report& report, std::string_view figure) {
  const Figure* found = report.find(figure);
  return found == nullptr ? std::vector<double>() : found->runs;
}

// What a tool of ours prints; its own words are the error when it fails.
Result<std::string> output_of(const std::vector<std::string>& command) {
  FOVEA_ASSIGN(const auto child, launch::ChildProcess::spawn(command, {}));
  std::string text;
  const auto read = [&] {
    child->read_output([&](std::string_view line) { (text += line) += '\n'; });
  };
  std::optional<launch::ExitStatus> ended;
  while (!(ended = child->reap())) {
    read();
    if (Executor::stop_signalled()) return fail(ErrorCode::kUnavailable, "interrupted");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  read();
  if (!ended->success())
    return fail(ErrorCode::kInternal,
                fmt::format("fovea engine {} {}: {}", command[1], to_string(*ended), text));
  return text;
}

// mAP50-95 in 0..100 by `fovea engine verify`, which runs the live nodes' own code.
Result<double> accuracy(const BenchConfig& config, const std::string& data) {
  namespace fs = std::filesystem;
  const std::string tool = launch::executable_directory() / "fovea-engine";
  const fs::path plan = fs::temp_directory_path() / fmt::format("fovea-sweep-{}.plan", getpid());
  std::vector<std::string> build{tool,          "build",          "--onnx",        config.model,
                                 "--precision", config.precision, "--save-engine", plan};
  if (config.precision == "int8" || config.precision == "best") {
    const bool is_folder = fs::is_directory(config.calibration);
    build.insert(build.end(), {is_folder ? "--calib" : "--calib-cache", config.calibration});
  }
  FOVEA_TRY(output_of(build));
  const auto verified =
      output_of({tool, "verify", "--load-engine", plan, "--data", data, "--json"});
  std::error_code ignored;
  fs::remove(plan, ignored);
  if (!verified) return fail(verified.error());
  // Notices may stand before the object.
  const std::size_t brace = verified->find('{');
  const Json json =
      brace == std::string::npos ? Json() : parse_json(std::string_view(*verified).substr(brace));
  if (!json.is_object() || !json.contains("map50_95") || !json["map50_95"].is_number())
    return fail(ErrorCode::kInternal, "fovea engine verify: " + *verified);
  return json["map50_95"].get<double>();
}

Result<SweepPoint> measure(const BenchConfig& config, const Host& host, bool search) {
  FOVEA_ASSIGN(const auto runs, run_all(config));
  Report report;
  report.config = config;
  report.host = host;
  evaluate(report, runs);
  SweepPoint point;
  point.cameras = config.cameras;
  point.precision = config.precision;
  point.model = config.model.filename();
  point.batch = config.max_batch;
  point.fps = runs_of(report, "fps");
  point.p50_ms = runs_of(report, "latency_ms.p50");
  point.p99_ms = runs_of(report, "latency_ms.p99");
  point.cpu_ms_per_frame = runs_of(report, "cpu_ms_per_frame");
  point.loss = mean(runs_of(report, "loss_percent")) / 100;
  Peak peak;
  for (std::uint32_t i = 0; search && i < config.runs; ++i)
    FOVEA_TRY(add_peak(config, estimate_peak(report), peak));
  point.peak_fps = peak.total_fps;
  return point;
}

}  // namespace

void mark_front(std::vector<SweepPoint>& points) {
  const auto worth = [](const SweepPoint& point) {
    return point.map_50_95 ? *point.map_50_95 : -mean(point.p50_ms);
  };
  for (SweepPoint& point : points) {
    point.on_front = std::none_of(points.begin(), points.end(), [&](const SweepPoint& other) {
      const bool no_worse = other.speed() >= point.speed() && worth(other) >= worth(point);
      return no_worse && (other.speed() > point.speed() || worth(other) > worth(point));
    });
  }
}

Result<> run_sweep(SweepOptions& options) {
  CommonOptions& common = options.common;
  if (options.models.empty()) options.models.push_back(common.config.model);
  // Everything is checked before the first of many runs.
  std::vector<BenchConfig> settings;
  for (const std::string& model : options.models) {
    for (const std::string& precision : options.precisions) {
      for (const std::uint32_t cameras : options.cameras) {
        for (const std::uint32_t batch : options.batches) {
          CommonOptions one = common;
          one.config.model = model;
          one.config.precision = precision;
          one.config.cameras = cameras;
          one.config.max_batch = batch;
          FOVEA_TRY(resolve(one));
          settings.push_back(one.config);
        }
      }
    }
  }
  common.config = settings.front();
  FOVEA_ASSIGN(Report report, begin_report(common));
  std::map<std::pair<std::string, std::string>, double> accuracies;
  for (const BenchConfig& config : settings) {
    print_error("fovea bench: {} cameras, {}, {}, batch {}", config.cameras, config.precision,
                config.model.filename().string(), config.max_batch);
    FOVEA_ASSIGN(SweepPoint point, measure(config, report.host, options.peak));
    if (!options.data.empty()) {
      const std::pair key(config.model.string(), config.precision);
      if (!accuracies.contains(key)) {
        FOVEA_ASSIGN(accuracies[key], accuracy(config, options.data));
      }
      point.map_50_95 = accuracies[key];
    }
    report.sweep.push_back(std::move(point));
  }
  // At a rate that everything keeps up with, all are equally fast.
  if (options.peak || common.config.rate == kMaxRate) mark_front(report.sweep);
  return deliver(report, common);
}

}  // namespace fovea::bench
