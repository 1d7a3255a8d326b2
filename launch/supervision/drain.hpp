// Whether what is in flight to a node has arrived, so that it may end: nothing is left, or what is
// left stands still and will not arrive.
//
// Thread safety: none; one thread.
#pragma once

#include <cstdint>

#include "nodes/base/clock.hpp"

namespace fovea::launch {

class Drain {
 public:
  // Asked again and again with the number of frames in flight.
  bool done(std::uint64_t count) {
    if (count <= residue_) {
      began_ns_ = 0;
      return true;
    }
    const std::int64_t now = monotonic_ns();
    if (began_ns_ == 0) began_ns_ = changed_ns_ = now;
    if (count != last_) changed_ns_ = now;
    last_ = count;
    if (now - changed_ns_ < kQuiet && now - began_ns_ < kLongest) return false;
    residue_ = count;
    return true;
  }

 private:
  // Ends when the count has stood still for this long, or after the longest wait.
  static constexpr std::int64_t kQuiet = 1'000'000'000;
  static constexpr std::int64_t kLongest = 5'000'000'000;

  std::int64_t began_ns_ = 0;    // since when it is waited for
  std::int64_t changed_ns_ = 0;  // when the count last moved
  std::uint64_t last_ = 0;
  std::uint64_t residue_ = 0;  // what will never arrive
};

}  // namespace fovea::launch
