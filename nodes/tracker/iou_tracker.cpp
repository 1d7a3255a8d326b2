#include "nodes/tracker/iou_tracker.hpp"

#include <algorithm>

#include "nodes/tracker/overlap.hpp"

namespace fovea {

IouTracker::IouTracker(const TrackerOptions& options, std::uint64_t last_id)
    : options_(options), last_id_(last_id) {
  open_.reserve(kMaxTracks);
  pairs_.reserve(kMaxTracks);
  track_of_.reserve(msgs::Detection2DArray::kMaxDetections);
  is_taken_.reserve(kMaxTracks);
}

// Ends the tracks that nothing continued for too long.
void IouTracker::advance(const msgs::Header& header) {
  const FrameStep step = clock_.advance(header);
  const auto limit = clock_.limit(options_.track_buffer);
  for (Track& track : open_) {
    track.age += step.frames;
    track.unseen += step.passed;
  }
  std::erase_if(open_, [&](const Track& track) { return track.unseen > limit; });
}

void IouTracker::associate(const msgs::Detection2DArray& detections) {
  pairs_.clear();
  for (std::uint32_t t = 0; t < open_.size(); ++t) {
    for (std::uint32_t d = 0; d < detections.detections.size(); ++d) {
      const msgs::Detection2D& detection = detections.detections[d];
      if (!options_.class_agnostic && detection.hypothesis.class_id != open_[t].class_id) continue;
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
                    .unseen = {},
                    .age = 0,
                    .hits = 0,
                    .class_id = detection.hypothesis.class_id,
                    .bbox = detection.bbox};
  if (open_.size() < kMaxTracks) {
    open_.push_back(track);
    return static_cast<std::uint32_t>(open_.size() - 1);
  }
  // Never one of this frame: those are fewer than there is room for.
  const auto oldest =
      std::max_element(open_.begin(), open_.end(), [](const Track& a, const Track& b) {
        return a.unseen != b.unseen ? a.unseen < b.unseen : a.id > b.id;
      });
  *oldest = track;
  return static_cast<std::uint32_t>(oldest - open_.begin());
}

void IouTracker::update(const msgs::Detection2DArray& detections, msgs::Track2DArray& tracks) {
  tracks.source_width = detections.source_width;
  tracks.source_height = detections.source_height;
  tracks.tracks.clear();
  advance(detections.header);
  associate(detections);
  for (const std::uint32_t t : track_of_) {
    if (t != kNone) open_[t].unseen = {};
  }
  for (std::uint32_t d = 0; d < track_of_.size(); ++d) {
    const msgs::Detection2D& detection = detections.detections[d];
    if (track_of_[d] == kNone) track_of_[d] = open_track(detection);
    Track& track = open_[track_of_[d]];
    track.bbox = detection.bbox;
    track.class_id = detection.hypothesis.class_id;
    ++track.hits;
    if (track.hits < options_.min_hits) continue;
    tracks.tracks.push_back({.id = track.id,
                             .bbox = detection.bbox,
                             .hypothesis = detection.hypothesis,
                             .class_name = detection.class_name,
                             .age = track.age,
                             .hits = track.hits});
  }
}

}  // namespace fovea
