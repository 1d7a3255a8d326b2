// Subscribes to every camera's detections, as a user's node would, and keeps the instants of every
// frame.
//
// Thread safety: one thread of its own takes the messages; all functions from any other one.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "launch/bench/frame_record.hpp"
#include "msgs/detection.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea::bench {

class Collector {
 public:
  // May start before the pipeline: subscriptions find their publishers. Errors: those of
  // Subscription::create().
  static Result<std::unique_ptr<Collector>> start(const Domain& domain, std::uint32_t cameras);
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  std::vector<std::uint64_t> received() const;  // frames of each camera so far
  // All frames so far, in order of arrival.
  std::vector<FrameRecord> frames() const;

 private:
  Collector() = default;
  void take(std::uint32_t camera);

  std::vector<std::unique_ptr<Subscription<msgs::Detection2DArray>>> subscriptions_;
  mutable std::mutex mutex_;  // guards the two below
  std::vector<FrameRecord> frames_;
  std::vector<std::uint64_t> received_;
  Executor executor_;
  std::thread thread_;
};

}  // namespace fovea::bench
