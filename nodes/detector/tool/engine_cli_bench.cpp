// `bench`: latency of one execute() call and throughput, as trtexec reports them. Bindings are the
// caller's memory, so there is no copy to count or to leave out.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <numeric>
#include <span>
#include <string>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "nodes/detector/engine/painted_picture.hpp"
#include "nodes/detector/tool/engine_cli_tensors.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// Nearest rank. REQUIRES: sorted, not empty.
double percentile(const std::vector<double>& sorted, double percent) {
  const auto rank =
      static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

struct Series {
  std::size_t batch = 1;
  std::vector<double> latency_ms;  // sorted
  double total_ms = 0;

  double mean() const {
    return std::accumulate(latency_ms.begin(), latency_ms.end(), 0.0) /
           static_cast<double>(latency_ms.size());
  }
  double images_per_s() const {
    return 1000 * static_cast<double>(latency_ms.size() * batch) / total_ms;
  }
};

// From the plan, in the cache or in a file, to the end of the first inference.
struct StartTimes {
  double plan_ms = 0;
  double load_ms = 0;
  double first_inference_ms = 0;
  double sum() const { return plan_ms + load_ms + first_inference_ms; }
};

// Of this program: getrusage() would also count what ran in the process before it.
double peak_memory_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtod(line.c_str() + 6, nullptr) / 1024;
  }
  return 0;
}

struct BenchCommand {
  ModelOptions model;
  std::vector<std::size_t> sweep;
  double warmup_ms = 200;
  double duration_s = 3;
  std::size_t iterations = 10;
  std::vector<double> percentiles = {50, 90, 95, 99};
  TensorOptions tensors;
  JsonOption json;

  // Every size that is asked for, on one engine that is built for the largest.
  Result<int> measure() const {
    FOVEA_TRY(tensors.check());
    ModelOptions wanted = model;
    for (const std::size_t batch : sweep) {
      wanted.request.max_batch =
          std::max(wanted.request.max_batch, static_cast<std::int64_t>(batch));
    }
    FOVEA_ASSIGN(const ModelOptions::Source source, wanted.plan());
    const auto load_start = Clock::now();
    FOVEA_ASSIGN(const ModelOptions::Shape shape, wanted.shape(source.plan));
    FOVEA_ASSIGN(const auto engine, engine::load_engine(source.plan, shape.size));
    warn_of_another_precision(source.plan.precision, engine->info().precision);
    FOVEA_ASSIGN(const auto context, engine->create_execution_context());
    const double load_ms = milliseconds(Clock::now() - load_start);
    const engine::EngineInfo& info = engine->info();
    FOVEA_ASSIGN(const auto inputs, tensors.load(info));
    const auto most = static_cast<std::size_t>(info.max_batch);
    FOVEA_ASSIGN(const engine::Bindings bindings, engine->make_bindings(most));
    for (std::size_t i = 0; i < most; ++i) {
      if (inputs.empty()) {
        engine::paint(bindings.input(i), static_cast<std::size_t>(info.input.dims[1]));
      } else {
        const auto& input = inputs[i % inputs.size()];
        std::copy(input.begin(), input.end(), bindings.input(i).begin());
      }
    }
    std::vector<std::size_t> sizes = sweep;
    if (sizes.empty()) sizes.push_back(shape.batch);
    say(json, fmt::format("{} {}, {} threads, input {}", info.provider, to_string(info.precision),
                          info.threads, engine::to_string(info.input.dims)));
    const auto first_start = Clock::now();
    FOVEA_TRY(context->execute(bindings.batch()));
    const StartTimes times{1000 * source.seconds, load_ms,
                           milliseconds(Clock::now() - first_start)};
    Json batches = Json::array();
    for (const std::size_t batch : sizes) {
      if (batch > most) {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("--sweep has {}; the engine takes at most {} pictures", batch, most));
      }
      FOVEA_ASSIGN(const Series series, run_batch(*context, bindings.batch(batch)));
      if (series.latency_ms.empty()) return kExitInterrupted;
      batches.push_back(describe(series));
      if (interrupted) break;
    }
    if (!tensors.outputs.empty()) {
      std::vector<std::vector<std::byte>> shown = inputs;
      if (shown.empty()) {
        const auto painted = bindings.input();
        shown.emplace_back(painted.begin(), painted.end());
      }
      FOVEA_ASSIGN(const auto saved, run_images(*engine, shown));
      FOVEA_TRY(tensors.save(saved));
    }
    FOVEA_TRY(publish(info, batches, source, times));
    return interrupted ? kExitInterrupted : kExitOk;
  }

  Result<Series> run_batch(engine::ExecutionContext& context,
                           std::span<const engine::BatchItem> batch) const {
    Series series;
    series.batch = batch.size();
    const auto warm_start = Clock::now();
    do {
      FOVEA_TRY(context.execute(batch));
    } while (!interrupted && milliseconds(Clock::now() - warm_start) < warmup_ms);
    const auto start = Clock::now();
    while (!interrupted && (series.latency_ms.size() < iterations ||
                            milliseconds(Clock::now() - start) < 1000 * duration_s)) {
      const auto before = Clock::now();
      FOVEA_TRY(context.execute(batch));
      series.latency_ms.push_back(milliseconds(Clock::now() - before));
    }
    series.total_ms = milliseconds(Clock::now() - start);
    std::sort(series.latency_ms.begin(), series.latency_ms.end());
    return series;
  }

  Json describe(const Series& series) const {
    const std::vector<double>& latency = series.latency_ms;
    Json result = {{"batch", series.batch},
                   {"iterations", latency.size()},
                   {"latency_ms",
                    {{"min", latency.front()}, {"mean", series.mean()}, {"max", latency.back()}}},
                   {"images_per_s", series.images_per_s()}};
    std::string line = fmt::format("batch {:<2}  min {:.2f}  mean {:.2f}", series.batch,
                                   latency.front(), series.mean());
    for (const double percent : percentiles) {
      const double value = percentile(latency, percent);
      result["latency_ms"][fmt::format("p{:g}", percent)] = value;
      line += fmt::format("  p{:g} {:.2f}", percent, value);
    }
    say(json, fmt::format("{}  max {:.2f} ms  {:.1f} images/s  ({} iterations)", line,
                          latency.back(), series.images_per_s(), latency.size()));
    return result;
  }

  Result<> publish(const engine::EngineInfo& info, const Json& batches,
                   const ModelOptions::Source& source, const StartTimes& times) const {
    const double peak_mb = peak_memory_mb();
    say(json,
        fmt::format("plan {:.1f} ms, load {:.1f} ms, first inference {:.1f} ms: {:.1f} ms; "
                    "peak memory {:.1f} MB",
                    times.plan_ms, times.load_ms, times.first_inference_ms, times.sum(), peak_mb));
    Json result = {
        {"provider", info.provider}, {"precision", to_string(info.precision)},
        {"threads", info.threads},   {"input", info.input.dims},
        {"plan_ms", times.plan_ms},  {"plan_cached", source.cached ? source.cached->hit : true},
        {"load_ms", times.load_ms},  {"first_inference_ms", times.first_inference_ms},
        {"start_ms", times.sum()},   {"peak_rss_mb", peak_mb},
        {"batches", batches}};
    if (sweep.empty()) result.update(batches[0]);
    return json.write(result.dump(2));
  }

  int run() const {
    const auto code = measure();
    return code ? *code : report(code.error());
  }
};

}  // namespace

Command add_bench(CLI::App& app) {
  auto command = std::make_shared<BenchCommand>();
  command->model.declare_with_engine(app);
  command->model.declare_shapes(app);
  add_option(app, "--sweep", command->sweep,
             "Batch sizes to measure one after the other, e.g. 1,2,4")
      .separated_by(',')
      .range(std::size_t{1}, static_cast<std::size_t>(engine::kMaxBatch));
  add_option(app, "--warmup", command->warmup_ms, "Milliseconds to run before measuring")
      .shows_default()
      .range(0.0, 600000.0);
  add_option(app, "--duration", command->duration_s, "Seconds to measure")
      .shows_default()
      .range(0.0, 86400.0);
  add_option(app, "--iterations", command->iterations, "Measure at least this many times")
      .shows_default()
      .range(std::size_t{1}, std::size_t{100000000});
  add_option(app, "--percentile", command->percentiles, "Percentiles to report, e.g. 50,99")
      .separated_by(',')
      .range(0.0, 100.0);
  command->tensors.declare(app);
  command->json.declare(app);
  return [command] { return command->run(); };
}

}  // namespace fovea::engine_cli
