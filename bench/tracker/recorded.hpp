// What can be said of tracks where nobody knows the truth: how often they break off, as far as that can be
// seen from the tracks themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "msgs/detection.hpp"
#include "nodes/base/result.hpp"
#include "nodes/tracker/tracker.hpp"

namespace fovea::bench {

// Without truth a new id is no error and an old one no merit: compare trackers on one recording, and no
// recordings with each other.
struct RecordedFigures {
  std::size_t frames = 0;
  std::size_t shown = 0;       // boxes with an id, of all frames
  std::size_t tracks = 0;      // ids that were shown
  std::size_t short_ones = 0;  // of them, in fewer than 5 frames
  std::size_t gaps = 0;        // times that an id was away for a frame or more and came back
  // Ids that begin where another of the class ended within the second before (overlap of 0.3 and more):
  // most are one object with two ids.
  std::size_t hand_overs = 0;
  double microseconds = 0;  // of a frame, mean
};

// Tracks the frames once.
RecordedFigures track_recorded(Tracker& tracker, const std::vector<msgs::Detection2DArray>& frames);

// The frames of a video as `fovea predict VIDEO --json FILE` wrote them, `rate` frames a second. Errors:
// kNotFound, kCorrupt for a file that is none of those.
Result<std::vector<msgs::Detection2DArray>> read_predictions(const std::string& file, double rate);

}  // namespace fovea::bench
