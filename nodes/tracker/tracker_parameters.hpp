// What a user may choose about tracks, as parameters. Header only, so that the trackers do not know the
// runtime.
//
// Thread safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/runtime/process/parameters.hpp"
#include "nodes/tracker/regions.hpp"
#include "nodes/tracker/tracker.hpp"
#include "nodes/tracker/trackers.hpp"

namespace fovea {

struct TrackerParameters {
  std::string tracker{tracker_kinds().front().name};
  std::chrono::nanoseconds track_buffer = TrackerOptions{}.track_buffer;
  std::uint32_t min_hits = TrackerOptions{}.min_hits;
  double iou_threshold = 0.3;
  bool class_agnostic = false;
  double track_high_threshold = 0.25;
  double track_low_threshold = 0.1;
  double new_track_threshold = 0.25;
  std::vector<std::string> zones, lines;
  Anchor anchor = Anchor::kCenter;

  // REQUIRES: it outlives `p`.
  void declare(ParameterSet& p) {
    std::vector<std::string> names;
    for (const TrackerKind& kind : tracker_kinds()) names.emplace_back(kind.name);
    p.add("tracker", &tracker, "How detections are associated").one_of(std::move(names));
    p.add("track_buffer_s", &track_buffer, "How long an object is remembered without a detection",
          Range{0, 3600}, "s");
    p.add("min_hits", &min_hits, "Frames that an object must be seen in before it is published",
          Range{1, 10000}, "frames");
    p.add("iou_threshold", &iou_threshold, "Overlap from which on a detection can continue a track",
          Range{0.01, 1});
    p.add("class_agnostic", &class_agnostic,
          "Detections of another class may continue a track, too");
    p.add("track_high_threshold", &track_high_threshold,
          "bytetrack: score from which on a detection is associated first, with all tracks",
          Range{0, 1});
    p.add("track_low_threshold", &track_low_threshold,
          "bytetrack: score from which on a detection may prolong a track", Range{0, 1});
    p.add("new_track_threshold", &new_track_threshold,
          "bytetrack: score from which on a detection may open a track, if it is a high one",
          Range{0, 1});
    p.add("zones", &zones,
          "Polygons whose tracks are counted, fractions of the picture: 'yard: x1 y1 x2 y2 x3 y3 "
          "...'")
        .checked_by(checked_by(&parse_zone));
    p.add("lines", &lines,
          "Lines whose crossings are counted, fractions of the picture: 'gate: x1 y1 x2 y2'")
        .checked_by(checked_by(&parse_line));
    p.add("anchor",
          choice(&anchor, {{"center", Anchor::kCenter}, {"bottom_center", Anchor::kBottomCenter}}),
          "Which point of a box is in a zone or crosses a line");
  }

  TrackerOptions options() const {
    TrackerOptions options;
    options.track_buffer = track_buffer;
    options.min_hits = min_hits;
    options.iou_threshold = static_cast<float>(iou_threshold);
    options.class_agnostic = class_agnostic;
    options.track_high_threshold = static_cast<float>(track_high_threshold);
    options.track_low_threshold = static_cast<float>(track_low_threshold);
    options.new_track_threshold = static_cast<float>(new_track_threshold);
    return options;
  }

  // Errors: those of make_regions().
  Result<Regions> regions() const { return make_regions(zones, lines, anchor); }

 private:
  template <class T>
  static std::function<Result<>(std::string_view)> checked_by(
      Result<T> (*parse)(std::string_view)) {
    return [parse](std::string_view text) -> Result<> {
      FOVEA_TRY(parse(text));
      return {};
    };
  }
};

}  // namespace fovea
