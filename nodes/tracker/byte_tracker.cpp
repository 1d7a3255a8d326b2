#include "nodes/tracker/byte_tracker.hpp"

#include <algorithm>
#include <cmath>

#include "nodes/tracker/overlap.hpp"

namespace fovea {
namespace {

constexpr std::uint32_t kNone = Assignment::kNone;

bool is_usable(const msgs::BoundingBox2D& box) {
  const auto fits = [](float value) { return std::abs(value) <= ByteTracker::kLargest; };
  return fits(box.center_x) && fits(box.center_y) && fits(box.size_x) && fits(box.size_y) &&
         box.size_x > 0 && box.size_y > 0;
}

}  // namespace

ByteTracker::ByteTracker(const TrackerOptions& options, std::uint64_t last_id)
    : options_(options), last_id_(last_id) {
  open_.reserve(kMaxTracks);
  pairs_.reserve(kMaxTracks);
  detection_of_.reserve(kMaxTracks);
  for (auto* list : {&high_, &low_, &track_of_}) {
    list->reserve(msgs::Detection2DArray::kMaxDetections);
  }
}

// Ends the tracks that nothing continued for too long, and says where the others are expected.
void ByteTracker::predict(const msgs::Header& header) {
  const FrameStep step = clock_.advance(header);
  const auto limit = clock_.limit(options_.track_buffer);
  std::erase_if(open_, [&](const Track& track) { return track.unseen + step.passed > limit; });
  const double seconds = std::chrono::duration<double>(step.passed).count();
  for (Track& track : open_) {
    track.age += step.frames;
    track.unseen += step.passed;
    track.filter.predict(seconds, track.is_seen);
    track.expected = track.filter.box();
  }
}

void ByteTracker::split(const msgs::Detection2DArray& detections) {
  high_.clear();
  low_.clear();
  for (std::uint32_t d = 0; d < detections.detections.size(); ++d) {
    const msgs::Detection2D& detection = detections.detections[d];
    if (!is_usable(detection.bbox)) continue;
    const float score = detection.hypothesis.score;
    if (score >= options_.track_high_threshold) {
      high_.push_back(d);
    } else if (score >= options_.track_low_threshold) {
      low_.push_back(d);
    }
  }
}

// Gives `candidates` to those tracks without a detection that takes() says yes to, and keeps the rest.
template <class Takes>
void ByteTracker::associate(const msgs::Detection2DArray& detections,
                            std::vector<std::uint32_t>& candidates, float iou_threshold,
                            Takes takes) {
  pairs_.clear();
  for (std::uint32_t t = 0; t < open_.size(); ++t) {
    const Track& track = open_[t];
    if (detection_of_[t] != kNone || !takes(track)) continue;
    for (const std::uint32_t d : candidates) {
      const msgs::Detection2D& detection = detections.detections[d];
      if (!options_.class_agnostic && detection.hypothesis.class_id != track.class_id) continue;
      const float shared = overlap(track.expected, detection.bbox);
      if (shared <= 0 || shared < iou_threshold) continue;
      const float score = std::min(detection.hypothesis.score, 1.0f);
      pairs_.push_back({t, d, static_cast<double>(shared) * static_cast<double>(score)});
    }
  }
  const auto found = assignment_.solve(open_.size(), detections.detections.size(), pairs_);
  for (std::uint32_t t = 0; t < found.size(); ++t) {
    if (found[t] == kNone) continue;
    detection_of_[t] = found[t];
    track_of_[found[t]] = t;
  }
  std::erase_if(candidates, [&](std::uint32_t d) { return track_of_[d] != kNone; });
}

void ByteTracker::open_track(const msgs::Detection2D& detection, std::uint32_t d) {
  const Track track{.id = ++last_id_,
                    .hits = 1,
                    .class_id = detection.hypothesis.class_id,
                    .filter = BoxFilter(detection.bbox)};
  std::size_t place = open_.size();
  if (place < kMaxTracks) {
    open_.push_back(track);
    detection_of_.push_back(d);
  } else {
    // Never one of this frame: those are fewer than there is room for.
    const auto oldest =
        std::max_element(open_.begin(), open_.end(), [](const Track& a, const Track& b) {
          return a.unseen != b.unseen ? a.unseen < b.unseen : a.id > b.id;
        });
    place = static_cast<std::size_t>(oldest - open_.begin());
    *oldest = track;
    detection_of_[place] = d;
  }
  track_of_[d] = static_cast<std::uint32_t>(place);
}

void ByteTracker::update(const msgs::Detection2DArray& detections, msgs::Track2DArray& tracks) {
  tracks.source_width = detections.source_width;
  tracks.source_height = detections.source_height;
  tracks.tracks.clear();
  predict(detections.header);
  split(detections);
  detection_of_.assign(open_.size(), kNone);
  track_of_.assign(detections.detections.size(), kNone);

  const auto is_confirmed = [&](const Track& track) { return track.hits >= options_.min_hits; };
  associate(detections, high_, options_.iou_threshold, is_confirmed);
  associate(detections, low_, std::max(kLowScoreIou, options_.iou_threshold),
            [&](const Track& track) { return is_confirmed(track) && track.is_seen; });
  associate(detections, high_, options_.iou_threshold,
            [&](const Track& track) { return !is_confirmed(track); });

  for (std::size_t t = 0; t < open_.size(); ++t) {
    Track& track = open_[t];
    track.is_seen = detection_of_[t] != kNone;
    if (!track.is_seen) continue;
    const msgs::Detection2D& detection = detections.detections[detection_of_[t]];
    track.filter.correct(detection.bbox);
    track.class_id = detection.hypothesis.class_id;
    track.unseen = {};
    ++track.hits;
  }
  for (const std::uint32_t d : high_) {
    const msgs::Detection2D& detection = detections.detections[d];
    if (detection.hypothesis.score >= options_.new_track_threshold) open_track(detection, d);
  }
  for (std::uint32_t d = 0; d < track_of_.size(); ++d) {
    if (track_of_[d] == kNone) continue;
    const Track& track = open_[track_of_[d]];
    if (!is_confirmed(track)) continue;
    const msgs::Detection2D& detection = detections.detections[d];
    tracks.tracks.push_back({.id = track.id,
                             .bbox = detection.bbox,
                             .hypothesis = detection.hypothesis,
                             .class_name = detection.class_name,
                             .age = track.age,
                             .hits = track.hits});
  }
  std::erase_if(open_, [&](const Track& track) { return !track.is_seen && !is_confirmed(track); });
}

}  // namespace fovea
