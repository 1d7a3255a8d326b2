// What passed between the frames of a camera. Frames come at uneven times and some are dropped on
// the way, so trackers go by the instants of capture, not by the number of their calls.
//
// Thread safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>

#include "msgs/header.hpp"

namespace fovea {

// Since the frame before.
struct FrameStep {
  std::uint32_t frames = 1;            // 1 unless some are missing
  std::chrono::nanoseconds passed{0};  // above 0
};

class FrameClock {
 public:
  // What passes per frame where stamps do not tell: they are 0, or do not grow.
  static constexpr std::chrono::nanoseconds kNominalInterval{33'333'333};
  // Longer than any track is remembered, and what a longer step is told as.
  static constexpr std::chrono::hours kLongestStep{2};

  // A number or a stamp that does not grow is of a source that counts anew: one frame passed, as far
  // as we know. Any header is safe.
  FrameStep advance(const msgs::Header& header);

  // For how long a track outlives its object: `buffer`, but more than one step of a camera's pace.
  // Goes by the step before the present one, so that the first frame after an outage counts as late.
  std::chrono::nanoseconds limit(std::chrono::nanoseconds buffer) const;

 private:
  std::uint64_t last_seq_ = 0;
  std::int64_t last_stamp_ = 0;
  std::chrono::nanoseconds interval_ = kNominalInterval;       // of the present step, per frame
  std::chrono::nanoseconds last_interval_ = kNominalInterval;  // of the step before
};

}  // namespace fovea
