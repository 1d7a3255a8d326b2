// A tracker after ByteTrack (Zhang et al. 2022): every track has a Kalman filter that says where its
// object should be now, and detections are associated in stages, best scores first.
//
//   1  confirmed tracks, hidden ones included, with detections from track_high_threshold on
//   2  those of them that the frame before showed, with detections from track_low_threshold on: what
//      is half hidden or blurred scores low, and is still where it must be
//   3  new tracks with what is left of the first kind
//
// What is left of the first kind then opens tracks, from new_track_threshold on. Within a stage the
// sum of overlap * score is made greatest. A track is confirmed, and shown, once it was seen in
// min_hits frames; until then a frame without it ends it.
//
// Other than the paper: which pairs are possible depends on the overlap alone, not on the score too;
// time is in seconds; no track ends because another lies on it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "nodes/tracker/assignment.hpp"
#include "nodes/tracker/box_filter.hpp"
#include "nodes/tracker/frame_clock.hpp"
#include "nodes/tracker/tracker.hpp"

namespace fovea {

// `update` allocates only to make room for more than ever before. A frame costs at most kMaxTracks *
// kMaxDetections comparisons, and the assignment of those that overlap.
class ByteTracker final : public Tracker {
 public:
  // Overlap from which on a low-score detection can continue a track. The paper's: they are weak
  // evidence, so they must be right where the track expects them.
  static constexpr float kLowScoreIou = 0.5f;
  // px; a detection with more than that, or that is not finite or empty, is no detection.
  static constexpr float kLargest = 1e6f;

  explicit ByteTracker(const TrackerOptions& options, std::uint64_t last_id = 0);

  void update(const msgs::Detection2DArray& detections, msgs::Track2DArray& tracks) override;
  std::uint64_t last_id() const override { return last_id_; }
  std::size_t open_tracks() const override { return open_.size(); }

 private:
  struct Track {
    std::uint64_t id;
    std::chrono::nanoseconds unseen{0};  // since it was detected
    std::uint32_t age = 0;               // frames since it was opened
    std::uint32_t hits = 0;
    std::uint32_t class_id;
    bool is_seen = true;  // in the last frame
    BoxFilter filter;
    msgs::BoundingBox2D expected{};  // in this frame
  };

  void predict(const msgs::Header& header);
  void split(const msgs::Detection2DArray& detections);
  template <class Takes>
  void associate(const msgs::Detection2DArray& detections, std::vector<std::uint32_t>& candidates,
                 float iou_threshold, Takes takes);
  void open_track(const msgs::Detection2D& detection, std::uint32_t d);

  TrackerOptions options_;
  std::uint64_t last_id_;
  FrameClock clock_;
  std::vector<Track> open_;
  Assignment assignment_;
  std::vector<AssignmentPair> pairs_;
  std::vector<std::uint32_t> high_, low_;    // detections that no track has yet
  std::vector<std::uint32_t> detection_of_;  // by track
  std::vector<std::uint32_t> track_of_;      // by detection
};

}  // namespace fovea
