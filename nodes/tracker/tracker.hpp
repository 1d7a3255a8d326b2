// What gives the detections of one camera identities that last from frame to frame, and what a user
// may choose about it. The implementations are in the list of trackers.hpp.
//
// Thread safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "msgs/detection.hpp"
#include "msgs/track.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

struct TrackerOptions {
  // Of every tracker.
  //
  // How long an object is remembered that is not detected; at least one and a half of the camera's
  // frame intervals, so that a slow camera has tracks at all.
  std::chrono::nanoseconds track_buffer = std::chrono::seconds(2);
  // Frames that an object must be seen in before it is shown, from 1.
  std::uint32_t min_hits = 2;
  // Overlap of a track and a detection from which on they can belong together; above 0.
  float iou_threshold = 0.3f;
  // A detection may continue a track of another class.
  bool class_agnostic = false;

  // Of bytetrack: scores, 0..1.
  //
  // Detections from here on are associated first, with all tracks.
  float track_high_threshold = 0.25f;
  // Those from here on, below the other, only with tracks that the first ones left and that the frame
  // before showed.
  float track_low_threshold = 0.1f;
  // One of the first kind that continues no track opens one from here on.
  float new_track_threshold = 0.25f;
};

// Errors: kInvalidArgument for a track_low_threshold above track_high_threshold.
Result<> check(const TrackerOptions& options);

class Tracker {
 public:
  // Open tracks; the one that was not seen for longest gives way to a new one.
  static constexpr std::size_t kMaxTracks = 512;
  static_assert(msgs::Detection2DArray::kMaxDetections < kMaxTracks);

  virtual ~Tracker() = default;

  // Replaces all but the header of `tracks` by those that this frame shows, in the order of its
  // detections. The header of `detections` says which frame it is (seq) and when it was captured
  // (stamp_monotonic). Any detections and any header are safe.
  virtual void update(const msgs::Detection2DArray& detections, msgs::Track2DArray& tracks) = 0;

  // The greatest id that was given; a successor goes on from there.
  virtual std::uint64_t last_id() const = 0;
  virtual std::size_t open_tracks() const = 0;
};

}  // namespace fovea
