// One look at all metrics pages of a domain: what the table, the summary and the JSON report show.
// Reads shared memory only; asks no node anything, so it works while nodes hang and after they
// died.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "msgs/node_status.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/figures/ledger.hpp"

namespace fovea::launch {

struct NodeView {
  std::string name, type, status;
  bool alive = false;
  std::uint32_t pid = 0;
  std::uint32_t starts = 0;
  msgs::LifecycleState state = msgs::LifecycleState::kUnconfigured;
  msgs::DiagnosticLevel level = msgs::DiagnosticLevel::kOk;

  std::uint32_t restarts() const { return starts > 0 ? starts - 1 : 0; }
};

struct LatencyView {
  std::uint64_t count = 0;
  double p50_ms = 0;
  double p99_ms = 0;
};

struct CameraView {
  std::string name;
  std::string source;  // "connected", "stalled", ...; the node's state while it is not active
  std::vector<std::string> stages;  // nodes that its frames pass, the source first
  FrameAccount frames;
  std::map<std::string, RestartGaps> gaps;          // by node, of those that were restarted
  LatencyView latency;                              // capture to what the last stage publishes
  std::map<std::string, std::uint64_t> detections;  // by class
};

struct DetectorView {
  std::string name;
  std::string
      status;  // what the node says of itself: build progress, fallback; empty if all is well
  std::string provider, precision;
  std::string plan;  // "hit", "built", or empty while there is none
  double build_seconds = 0;
  LatencyView engine;
  std::map<std::uint32_t, std::uint64_t> batch_sizes;  // frames in a batch -> batches
};

struct Snapshot {
  std::int64_t taken_ns = 0;  // CLOCK_MONOTONIC
  std::vector<NodeView> nodes;
  std::vector<CameraView> cameras;
  std::vector<DetectorView> detectors;
  std::vector<std::string> loose_ends;  // topics that only one side knows, a line each
  std::uint64_t bytes_copied = 0;       // of pixels and tensors, beyond each stage's one write

  // Of the cameras whose frames pass `node`; of all if it is empty.
  std::uint64_t in_flight(std::string_view node = {}) const;
  // Every camera's source has come to its end or given up, and there is one.
  bool sources_ended() const;
  bool any_source_failed() const;
  double bytes_copied_per_frame() const;  // 0 before the first frame
};

// `final`: all processes have ended, so what is in flight is lost. `absent`: nodes that were taken
// out on request, or came so and do not work yet; a camera whose frames go on without them is shown
// without them.
Snapshot take_snapshot(const Domain& domain, bool final,
                       const std::set<std::string, std::less<>>& absent = {});

}  // namespace fovea::launch
