// What the tracks of one camera do about its zones and lines: how many are inside now, and who crosses
// which way. What counts is one point of the box, its anchor.
//
// A track crosses a line when its anchor was clearly on one side (further away than a twentieth of the
// box, so that one that stands on the line and trembles is not counted), is clearly on the other, and
// the straight way between them passes the line between its ends, themselves included. Walking along
// the line is no crossing. Who was hidden meanwhile crosses on return, if its track is the same.
//
// Thread safety: one thread at a time. Allocates only to make room for more than ever before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "msgs/track.hpp"
#include "nodes/tracker/regions.hpp"

namespace fovea {

// As seen by whoever walks from the line's first point to its second.
enum class Direction { kToRight, kToLeft };

struct Crossing {
  std::uint32_t line;   // its place in the list
  std::uint32_t track;  // its place in the message
  Direction direction;
};

class RegionCounter {
 public:
  // REQUIRES: as make_regions() gives them.
  explicit RegionCounter(Regions regions);

  // Any tracks are safe; a frame without a size, or a box that is not finite, counts nowhere.
  void update(const msgs::Track2DArray& tracks);

  // Of the last frame: the tracks, by place in the message, that are inside; and who crossed in it.
  std::span<const std::uint32_t> inside(std::size_t zone) const { return inside_[zone]; }
  std::span<const Crossing> crossings() const { return crossings_; }

  const std::vector<Zone>& zones() const { return regions_.zones; }
  const std::vector<Line>& lines() const { return regions_.lines; }

 private:
  // Tracks that are remembered; more than a tracker keeps open, so those it has are among them.
  static constexpr std::size_t kMaxTracks = 1024;

  struct Side {
    int side = 0;   // 1 right, -1 left, 0 not known yet
    Point2D point;  // fractions; where that was
  };
  struct Seen {
    std::uint64_t id;
    std::uint64_t frame;
    std::array<Side, Regions::kMaxLines> sides;
  };

  Seen& seen(std::uint64_t id);

  Regions regions_;
  std::uint64_t frame_ = 0;
  std::vector<Seen> seen_;  // by id
  std::vector<std::vector<std::uint32_t>> inside_;
  std::vector<Crossing> crossings_;
};

}  // namespace fovea
