// `fovea bench sweep`: every combination of the settings given, each with runs of its own; accuracy
// beside speed where a labelled set is given.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/bench/replay_command.hpp"

namespace fovea::bench {

struct SweepOptions {
  CommonOptions common;
  std::vector<std::uint32_t> cameras{1, 2, 4};
  std::vector<std::string> precisions{"fp32"};
  std::vector<std::string> models;
  std::vector<std::uint32_t> batches{0};
  std::string data;   // labelled pictures for mAP; empty = none
  bool peak = false;  // search each setting's peak, too
};

Result<> run_sweep(SweepOptions& options);

// Marks the points that no other beats in both speed, which is the peak where it was searched for,
// and accuracy (latency where there is none). REQUIRES: runs at full speed, or peaks.
void mark_front(std::vector<SweepPoint>& points);

}  // namespace fovea::bench
