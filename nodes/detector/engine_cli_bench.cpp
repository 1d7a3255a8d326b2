// `bench`: latency of one execute() call and throughput, as trtexec reports them. Bindings are the
// caller's memory, so there is no copy to count or to leave out.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "nodes/detector/engine_cli.hpp"

namespace fovea::engine_cli {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// Nearest rank. REQUIRES: sorted, not empty.
double percentile(const std::vector<double>& sorted, double percent) {
  const auto rank =
      static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

// Smooth in the large, busy in the small, as pictures are.
void paint(std::span<std::byte> image, std::int64_t width) {
  for (std::size_t i = 0; i < image.size(); ++i) {
    const auto pixel = static_cast<double>(i / 3);
    const double x = std::fmod(pixel, static_cast<double>(width));
    const double y = pixel / static_cast<double>(width);
    const double value =
        128 + 80 * std::sin(0.05 * x + static_cast<double>(i % 3)) + 40 * std::cos(0.11 * y);
    image[i] = static_cast<std::byte>(static_cast<std::uint8_t>(value));
  }
}

struct BenchCommand {
  ModelOptions model;
  double warmup_ms = 200;
  double duration_s = 3;
  std::size_t iterations = 10;
  std::vector<double> percentiles = {50, 90, 95, 99};
  JsonOption json;

  Result<int> measure() const {
    FOVEA_ASSIGN(const ModelOptions::Source source, model.plan());
    const auto load_start = Clock::now();
    FOVEA_ASSIGN(const auto engine, engine::load_engine(source.plan));
    FOVEA_ASSIGN(const auto context, engine->create_execution_context());
    const double load_ms = milliseconds(Clock::now() - load_start);
    const engine::EngineInfo& info = engine->info();
    std::vector<Bindings> bindings;
    std::vector<engine::BatchItem> batch;
    bindings.reserve(static_cast<std::size_t>(info.max_batch));
    for (std::int32_t i = 0; i < info.max_batch; ++i) {
      bindings.emplace_back(info);
      paint(bindings.back().input(), info.input.dims[1]);
      batch.push_back(bindings.back().item());
    }

    const auto warm_start = Clock::now();
    do {
      FOVEA_TRY(context->execute(batch));
    } while (!interrupted && milliseconds(Clock::now() - warm_start) < warmup_ms);
    std::vector<double> latency;
    const auto start = Clock::now();
    while (!interrupted && (latency.size() < iterations ||
                            milliseconds(Clock::now() - start) < 1000 * duration_s)) {
      const auto before = Clock::now();
      FOVEA_TRY(context->execute(batch));
      latency.push_back(milliseconds(Clock::now() - before));
    }
    const double total_ms = milliseconds(Clock::now() - start);
    if (latency.empty()) return kExitInterrupted;
    std::sort(latency.begin(), latency.end());
    FOVEA_TRY(publish(info, latency, total_ms, source, load_ms));
    return interrupted ? kExitInterrupted : kExitOk;
  }

  Result<> publish(const engine::EngineInfo& info, const std::vector<double>& latency,
                   double total_ms, const ModelOptions::Source& source, double load_ms) const {
    double sum = 0;
    for (const double value : latency) sum += value;
    const double mean = sum / static_cast<double>(latency.size());
    const double per_second =
        1000 * static_cast<double>(latency.size()) * info.max_batch / total_ms;
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    const double peak_mb = static_cast<double>(usage.ru_maxrss) / 1024;

    nlohmann::ordered_json result = {
        {"provider", info.provider},
        {"precision", info.precision},
        {"threads", info.threads},
        {"batch", info.max_batch},
        {"input", info.input.dims},
        {"iterations", latency.size()},
        {"latency_ms", {{"min", latency.front()}, {"mean", mean}, {"max", latency.back()}}},
        {"images_per_second", per_second},
        {"plan_ms", 1000 * source.seconds},
        {"plan_cached", source.cached ? source.cached->hit : true},
        {"load_ms", load_ms},
        {"peak_rss_mb", peak_mb}};
    std::string line = fmt::format("latency  min {:.2f}  mean {:.2f}", latency.front(), mean);
    for (const double percent : percentiles) {
      const double value = percentile(latency, percent);
      result["latency_ms"][fmt::format("p{:g}", percent)] = value;
      line += fmt::format("  p{:g} {:.2f}", percent, value);
    }
    say(json, fmt::format("{} {}, {} threads, batch {}, input {}", info.provider, info.precision,
                          info.threads, info.max_batch, engine::to_string(info.input.dims)));
    say(json,
        fmt::format("{}  max {:.2f} ms  ({} iterations)", line, latency.back(), latency.size()));
    say(json,
        fmt::format(
            "throughput {:.1f} images/s   plan {:.0f} ms, load {:.0f} ms, peak memory {:.0f} MB",
            per_second, 1000 * source.seconds, load_ms, peak_mb));
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
  command->model.declare(app, /*accept_engine=*/true);
  app.add_option("--warmup", command->warmup_ms, "Milliseconds to run before measuring")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 600000.0));
  app.add_option("--duration", command->duration_s, "Seconds to measure")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 86400.0));
  app.add_option("--iterations", command->iterations, "Measure at least this many times")
      ->capture_default_str()
      ->check(CLI::Range(std::size_t{1}, std::size_t{100000000}));
  app.add_option("--percentile", command->percentiles, "Percentiles to report, e.g. 50,99")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 100.0));
  command->json.declare(app);
  return [command] { return command->run(); };
}

}  // namespace fovea::engine_cli
