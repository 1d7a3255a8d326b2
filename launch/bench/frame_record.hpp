// The instants of one delivered frame and the pieces that its latency is made of.
//
// Thread safety: plain values.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "msgs/header.hpp"

namespace fovea::bench {

// CLOCK_MONOTONIC, ns.
struct FrameRecord {
  std::uint32_t camera = 0;
  std::uint64_t seq = 0;
  std::int64_t due = 0;  // when the frame was to be captured, whether or not the camera was in time
  msgs::StageStamps stages;
  std::int64_t received = 0;  // its detections are with a subscriber in another process
};

// The frame's instants in order: when it was due; of each stage where it began (but for the first)
// and ended; when it was received. Piece i of the latency lasts from instant i to instant i + 1.
inline std::size_t pieces(const FrameRecord& frame) { return 2 * frame.stages.size(); }
inline std::int64_t instant(const FrameRecord& frame, std::size_t i) {
  if (i == 0) return frame.due;
  if (i >= pieces(frame)) return frame.received;
  const msgs::StageStamp& stamp = frame.stages[i / 2];
  return i % 2 == 0 ? stamp.started : stamp.ended;
}
inline double piece_ms(const FrameRecord& frame, std::size_t i) {
  return static_cast<double>(instant(frame, i + 1) - instant(frame, i)) / 1e6;
}

// "capture" (due until the pixels are in the slot), "to_preprocess" (message and waiting),
// "preprocess", ..., "to_subscriber". The detector's piece is called "engine"; a batch counts whole
// for each of its frames.
inline constexpr std::string_view kDetector = "detector";
inline std::string piece_name(const FrameRecord& frame, std::size_t i) {
  if (i == 0) return "capture";
  if (i + 1 == pieces(frame)) return "to_subscriber";
  const std::string_view stage = frame.stages[(i + 1) / 2].stage.view();
  if (i % 2 == 1) return "to_" + std::string(stage);
  return std::string(stage == kDetector ? "engine" : stage);
}

// Time within the network; 0 without one.
inline double engine_ms(const FrameRecord& frame) {
  double sum = 0;
  for (const msgs::StageStamp& stamp : frame.stages) {
    if (stamp.stage.view() == kDetector)
      sum += static_cast<double>(stamp.ended - stamp.started) / 1e6;
  }
  return sum;
}

// Every stage left its stamp, and none before the previous one.
inline bool stamps_in_order(const FrameRecord& frame) {
  for (std::size_t i = 0; i < pieces(frame); ++i) {
    if (instant(frame, i) <= 0 || instant(frame, i + 1) < instant(frame, i)) return false;
  }
  return !frame.stages.empty();
}

// The frame was stamped by the first of these stages, and by each of them.
inline bool passed(const FrameRecord& frame, const std::vector<std::string>& stages) {
  return frame.stages.size() <= stages.size() &&
         std::equal(frame.stages.begin(), frame.stages.end(), stages.begin(),
                    [](const msgs::StageStamp& stamp, const std::string& stage) {
                      return stamp.stage == decltype(stamp.stage)(stage);
                    });
}

inline double latency_ms(const FrameRecord& frame) {
  return static_cast<double>(frame.received - frame.due) / 1e6;
}

}  // namespace fovea::bench
