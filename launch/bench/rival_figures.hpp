// What a rival is asked for and what it says.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fovea::bench {

struct RivalTask {
  std::string video;  // path of a file
  std::uint32_t cameras = 1;
  std::filesystem::path model;
  std::string precision = "fp32";
  std::string calibration;
  double score_threshold = 0.25;
  double warmup_s = 1;
  double duration_s = 10;
};

struct RivalFigures {
  double fps = 0;
  double p50_ms = 0;  // from the frame in memory to its detections
  double p99_ms = 0;
  double cpu_percent = 0;
  std::uint64_t detections = 0;
};

}  // namespace fovea::bench
