// The simple tracker: of the pairs of a track and a detection of its class that overlap enough, those
// that overlap most belong together (greedy association by intersection over union; no model of
// motion, so objects must overlap themselves from one frame to the next; scores do not matter).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "nodes/tracker/frame_clock.hpp"
#include "nodes/tracker/tracker.hpp"

namespace fovea {

// `update` allocates only to make room for more than ever before; a frame costs at most kMaxTracks *
// kMaxDetections comparisons.
class IouTracker final : public Tracker {
 public:
  explicit IouTracker(const TrackerOptions& options, std::uint64_t last_id = 0);

  void update(const msgs::Detection2DArray& detections, msgs::Track2DArray& tracks) override;
  std::uint64_t last_id() const override { return last_id_; }
  std::size_t open_tracks() const override { return open_.size(); }

 private:
  struct Track {
    std::uint64_t id;
    std::chrono::nanoseconds unseen;  // since it was detected
    std::uint32_t age;                // frames since it was opened
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

  void advance(const msgs::Header& header);
  void associate(const msgs::Detection2DArray& detections);
  std::uint32_t open_track(const msgs::Detection2D& detection);

  TrackerOptions options_;
  std::uint64_t last_id_;
  FrameClock clock_;
  std::vector<Track> open_;
  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> track_of_;  // by detection
  std::vector<bool> is_taken_;           // by track
};

}  // namespace fovea
