#include "nodes/tracker/iou_tracker.hpp"

#include <algorithm>
#include <cmath>

namespace fovea {

float overlap(const msgs::BoundingBox2D& a, const msgs::BoundingBox2D& b) {
  // A sum is finite only if all its parts are; min() and max() would swallow a NaN.
  if (!std::isfinite(a.center_x + a.center_y + a.size_x + a.size_y + b.center_x + b.center_y +
                     b.size_x + b.size_y)) {
    return 0;
  }
  const auto shared = [](float center_a, float size_a, float center_b, float size_b) {
    return std::min(center_a + size_a / 2, center_b + size_b / 2) -
           std::max(center_a - size_a / 2, center_b - size_b / 2);
  };
  const float width = shared(a.center_x, a.size_x, b.center_x, b.size_x);
  const float height = shared(a.center_y, a.size_y, b.center_y, b.size_y);
  if (!(width > 0) || !(height > 0)) return 0;
  const float both = width * height;
  const float all = a.size_x * a.size_y + b.size_x * b.size_y - both;
  return all > 0 && std::isfinite(all) ? both / all : 0;
}

IouTracker::IouTracker(const TrackerOptions& options, std::uint64_t last_id)
    : options_(options), last_id_(last_id) {
  open_.reserve(kMaxTracks);
  pairs_.reserve(kMaxTracks);
  track_of_.reserve(msgs::Detection2DArray::kMaxDetections);
  is_taken_.reserve(kMaxTracks);
}

// Ends the tracks that nothing continued for too long.
void IouTracker::advance(std::uint64_t seq) {
  // A number that does not grow is of a source that counts anew: one frame passed, as far as we know.
  const std::uint64_t frames = last_seq_ != 0 && seq > last_seq_ ? seq - last_seq_ : 1;
  now_ += frames;
  last_seq_ = seq;
  std::erase_if(open_, [&](const Track& track) {
    return now_ - track.last_seen > std::uint64_t{options_.max_missed} + 1;
  });
}

void IouTracker::associate(const msgs::Detection2DArray& detections) {
  pairs_.clear();
  for (std::uint32_t t = 0; t < open_.size(); ++t) {
    for (std::uint32_t d = 0; d < detections.detections.size(); ++d) {
      const msgs::Detection2D& detection = detections.detections[d];
      if (detection.hypothesis.class_id != open_[t].class_id) continue;
      const float shared = overlap(open_[t].bbox, detection.bbox);
      if (shared > 0 && shared >= options_.iou_threshold) pairs_.push_back({shared, t, d});
    }
  }
  // Equal overlaps: the older track, then the better detection, so the result is always the same.
  std::sort(pairs_.begin(), pairs_.end(), [&](const Pair& a, const Pair& b) {
    if (a.overlap != b.overlap) return a.overlap > b.overlap;
    if (a.track != b.track) return open_[a.track].id < open_[b.track].id;
    return a.detection < b.detection;
  });
  track_of_.assign(detections.detections.size(), kNone);
  is_taken_.assign(open_.size(), false);
  for (const Pair& pair : pairs_) {
    if (is_taken_[pair.track] || track_of_[pair.detection] != kNone) continue;
    is_taken_[pair.track] = true;
    track_of_[pair.detection] = pair.track;
  }
}

std::uint32_t IouTracker::open_track(const msgs::Detection2D& detection) {
  const Track track{.id = ++last_id_,
                    .last_seen = now_,
                    .first_seen = now_,
                    .hits = 0,
                    .class_id = detection.hypothesis.class_id,
                    .bbox = detection.bbox};
  if (open_.size() < kMaxTracks) {
    open_.push_back(track);
    return static_cast<std::uint32_t>(open_.size() - 1);
  }
  // Never one of this frame: those are fewer than there is room for.
  const auto oldest =
      std::min_element(open_.begin(), open_.end(), [](const Track& a, const Track& b) {
        return a.last_seen != b.last_seen ? a.last_seen < b.last_seen : a.id < b.id;
      });
  *oldest = track;
  return static_cast<std::uint32_t>(oldest - open_.begin());
}

void IouTracker::update(std::uint64_t seq, const msgs::Detection2DArray& detections,
                        msgs::Track2DArray& tracks) {
  static_assert(msgs::Detection2DArray::kMaxDetections < kMaxTracks);
  tracks.source_width = detections.source_width;
  tracks.source_height = detections.source_height;
  tracks.tracks.clear();
  advance(seq);
  associate(detections);
  for (std::uint32_t d = 0; d < track_of_.size(); ++d) {
    if (track_of_[d] != kNone) open_[track_of_[d]].last_seen = now_;
  }
  for (std::uint32_t d = 0; d < track_of_.size(); ++d) {
    const msgs::Detection2D& detection = detections.detections[d];
    if (track_of_[d] == kNone) track_of_[d] = open_track(detection);
    Track& track = open_[track_of_[d]];
    track.bbox = detection.bbox;
    ++track.hits;
    if (track.hits < options_.min_hits) continue;
    tracks.tracks.push_back({.id = track.id,
                             .bbox = detection.bbox,
                             .hypothesis = detection.hypothesis,
                             .class_name = detection.class_name,
                             .age = static_cast<std::uint32_t>(now_ - track.first_seen),
                             .hits = track.hits});
  }
}

}  // namespace fovea
