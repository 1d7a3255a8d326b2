// Runs and reports made up for tests: known latencies, known losses.
#pragma once

#include <random>
#include <string>

#include "launch/bench/report.hpp"

namespace fovea::bench::test {

// `seconds` of `cameras` cameras at `rate`; every piece of every frame's latency takes `piece_ms`,
// times a random factor of up to 1 + noise.
inline RunResult made_run(std::uint32_t cameras, double rate, int seconds, double piece_ms,
                          double noise = 0, std::uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> factor(1, 1 + noise);
  RunResult run;
  run.begin_ns = 1'000'000'000;
  run.end_ns = run.begin_ns + std::int64_t{seconds} * 1'000'000'000;
  run.engine = "cpu/fp32";
  const auto frames = static_cast<std::uint64_t>(rate * seconds);
  for (std::uint32_t c = 0; c < cameras; ++c) {
    for (std::uint64_t i = 0; i < frames; ++i) {
      FrameRecord frame;
      frame.camera = c;
      frame.seq = i + 1;
      std::int64_t at =
          run.begin_ns + static_cast<std::int64_t>(static_cast<double>(i) * 1e9 / rate);
      const auto next = [&] {
        return at += static_cast<std::int64_t>(piece_ms * factor(random) * 1e6);
      };
      frame.due = at;
      frame.stages.push_back({"camera", at, next()});
      for (const char* stage : {"preprocess", "detector", "postprocess"}) {
        const std::int64_t started = next();
        frame.stages.push_back({stage, started, next()});
      }
      frame.received = next();
      run.frames.push_back(frame);
    }
    CameraCount count;
    count.name = camera_name(c);
    count.offered = count.delivered = frames;
    count.captured_total = count.delivered_total = count.received_total = frames + 10;
    run.cameras.push_back(count);
  }
  run.batches[1] = frames * cameras;
  run.drops["detector"][static_cast<std::size_t>(DropReason::kSuperseded)] = 0;
  run.processes = {{"detector", 50, 80, 40}, {"cam0", 5, 60, 6}, {"bench", 1, 20, 0}};
  for (int i = 1; i <= seconds; ++i) run.seconds.push_back({static_cast<double>(i), 40, {}});
  return run;
}

inline Report made_report(const std::vector<RunResult>& runs) {
  Report report;
  report.command = "fovea bench replay --video 'a<b>.mp4'";
  report.started = "2026-01-02T03:04:05Z";
  report.version = "1.2.3";
  report.config.video = "file:///a<b>.mp4";
  report.config.cameras = static_cast<std::uint32_t>(runs.front().cameras.size());
  report.config.model = "/models/m.onnx";
  report.hashes = {"aa", "bb"};
  report.host.cpu = "Some CPU";
  report.host.cores = 2;
  evaluate(report, runs);
  return report;
}

}  // namespace fovea::bench::test
