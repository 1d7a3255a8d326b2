// The instants of one delivered frame and the pieces that its latency is made of.
//
// Thread safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

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

// Piece i of a frame's latency lasts from instant i to instant i + 1 of instants().
enum class Piece : std::uint32_t {
  kCapture,        // due until the pixels are in the slot: waking up, colour conversion
  kToPreprocess,   // message and waiting
  kPreprocess,     // letterbox
  kToDetector,     // message and waiting for the engine
  kEngine,         // the network; a batch counts whole for each of its frames
  kToPostprocess,  // message and waiting
  kPostprocess,    // decoding, NMS
  kToSubscriber,   // message
};
inline constexpr std::size_t kPieces = 8;
inline constexpr std::array<std::string_view, kPieces> kPieceNames{
    "capture", "to_preprocess",  "preprocess",  "to_detector",
    "engine",  "to_postprocess", "postprocess", "to_subscriber"};

inline std::array<std::int64_t, kPieces + 1> instants(const FrameRecord& frame) {
  const msgs::StageStamps& s = frame.stages;
  return {frame.due,           s.captured, s.preprocess_started,  s.preprocessed,
          s.inference_started, s.inferred, s.postprocess_started, s.published,
          frame.received};
}

// Every stage left its stamp, and none before the previous one.
inline bool stamps_in_order(const FrameRecord& frame) {
  const auto all = instants(frame);
  for (std::size_t i = 0; i < kPieces; ++i) {
    if (all[i] <= 0 || all[i + 1] < all[i]) return false;
  }
  return true;
}

inline double piece_ms(const FrameRecord& frame, std::size_t piece) {
  const auto all = instants(frame);
  return static_cast<double>(all[piece + 1] - all[piece]) / 1e6;
}
inline double latency_ms(const FrameRecord& frame) {
  return static_cast<double>(frame.received - frame.due) / 1e6;
}

}  // namespace fovea::bench
