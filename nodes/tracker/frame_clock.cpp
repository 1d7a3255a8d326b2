#include "nodes/tracker/frame_clock.hpp"

#include <algorithm>

namespace fovea {

FrameStep FrameClock::advance(const msgs::Header& header) {
  constexpr std::uint64_t kMostFrames = 1'000'000'000;
  FrameStep step;
  if (last_seq_ != 0 && header.seq > last_seq_) {
    step.frames = static_cast<std::uint32_t>(std::min(header.seq - last_seq_, kMostFrames));
  }
  step.passed = kNominalInterval * step.frames;
  if (last_stamp_ > 0 && header.stamp_monotonic > last_stamp_) {
    step.passed = std::chrono::nanoseconds(header.stamp_monotonic - last_stamp_);
  }
  step.passed = std::min<std::chrono::nanoseconds>(step.passed, kLongestStep);
  last_seq_ = header.seq;
  last_stamp_ = header.stamp_monotonic;
  last_interval_ = interval_;
  interval_ = step.passed / step.frames;
  return step;
}

std::chrono::nanoseconds FrameClock::limit(std::chrono::nanoseconds buffer) const {
  return std::max(buffer, last_interval_ * 3 / 2);
}

}  // namespace fovea
