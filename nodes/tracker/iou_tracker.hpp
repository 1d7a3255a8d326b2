// Gives the detections of one camera identities that last from frame to frame: of the pairs of a
// track and a detection of its class that overlap enough, those that overlap most belong together
// (greedy association by intersection over union; no model of motion, so objects must overlap
// themselves from one frame to the next).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "msgs/detection.hpp"
#include "msgs/track.hpp"

namespace fovea {

struct TrackerOptions {
  float iou_threshold = 0.3f;     // overlap from which on a detection can continue a track; above 0
  std::uint32_t max_missed = 10;  // frames that a track outlives without a detection
  std::uint32_t min_hits = 1;     // frames that an object must be seen in before it is shown
};

// Intersection over union; 0 for boxes that are empty.
float overlap(const msgs::BoundingBox2D& a, const msgs::BoundingBox2D& b);

// Thread safety: one thread at a time. `update` allocates only to make room for more than ever
// before; a frame costs at most kMaxTracks * kMaxDetections comparisons.
class IouTracker {
 public:
  // Open tracks; the one that was not seen for longest gives way to a new one.
  static constexpr std::size_t kMaxTracks = 512;

  // `last_id` was given by a predecessor; numbers go on from there.
  explicit IouTracker(const TrackerOptions& options, std::uint64_t last_id = 0);

  // Replaces `tracks` by those that this frame shows, in the order of its detections. Frames that
  // are missing between the last `seq` and this one count as frames without detections. Any
  // detections are safe.
  void update(std::uint64_t seq, const msgs::Detection2DArray& detections,
              msgs::Track2DArray& tracks);

  std::uint64_t last_id() const { return last_id_; }
  std::size_t open_tracks() const { return open_.size(); }

 private:
  struct Track {
    std::uint64_t id;
    std::uint64_t last_seen;  // on the tracker's own count of frames
    std::uint64_t first_seen;
    std::uint32_t hits;
    std::uint32_t class_id;
    msgs::BoundingBox2D bbox;
  };
  struct Pair {
    float overlap;
    std::uint32_t track;
    std::uint32_t detection;
  };
  static constexpr std::uint32_t kNone = UINT32_MAX;

  void advance(std::uint64_t seq);
  void associate(const msgs::Detection2DArray& detections);
  std::uint32_t open_track(const msgs::Detection2D& detection);

  TrackerOptions options_;
  std::uint64_t last_id_;
  std::uint64_t last_seq_ = 0;
  std::uint64_t now_ = 0;  // frames, missing ones included; only grows
  std::vector<Track> open_;
  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> track_of_;  // by detection
  std::vector<bool> is_taken_;           // by track
};

}  // namespace fovea
