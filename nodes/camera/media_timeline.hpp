// When the frames of a file are due, by the file's own time stamps, and what becomes of stamps that
// make no sense: none, backwards, or a jump into the far future must neither stop a camera nor make
// it race.
//
// Thread safety: plain value.
#pragma once

#include <optional>
#include <string>

#include "nodes/camera/pacer.hpp"

namespace fovea::frames {

class MediaTimeline {
 public:
  // A longer pause between two frames is taken for a wrong stamp. Time-lapse files show their
  // frames at a rate of their own, so that no sensible file has one.
  static constexpr Nanoseconds kMaxGap = std::chrono::seconds(10);
  // Stamps that fall by less are out of order; by more, the count began anew.
  static constexpr Nanoseconds kMaxStepBack = std::chrono::seconds(1);

  // `period` stands in where the stamps do not say how long a frame lasts.
  explicit MediaTimeline(Nanoseconds period = std::chrono::milliseconds(40)) : period_(period) {}

  // When the next frame is due, counted from the first one; rises with each call.
  Nanoseconds next(std::optional<Nanoseconds> stamp);
  // The last answer of next().
  Nanoseconds last() const { return last_; }
  // The file begins anew: its first frame is due one period after the last one.
  void start_pass() { restarts_ = true; }

  // What was wrong with the stamps so far, for people; empty if nothing was.
  const std::string& trouble() const { return trouble_; }

 private:
  Nanoseconds continue_at(Nanoseconds stamp, Nanoseconds due);

  Nanoseconds period_;
  std::optional<Nanoseconds> shift_;  // from stamp to answer; nullopt before the first stamp
  bool has_frames_ = false;
  bool restarts_ = false;
  Nanoseconds last_{0};
  std::string trouble_;
};

}  // namespace fovea::frames
