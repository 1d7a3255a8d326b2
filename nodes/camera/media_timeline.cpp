#include "nodes/camera/media_timeline.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

namespace fovea::frames {

namespace {

double seconds(Nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

// Takes `stamp` for the instant `due`; later stamps count from there.
Nanoseconds MediaTimeline::continue_at(Nanoseconds stamp, Nanoseconds due) {
  shift_ = due - stamp;
  return due;
}

Nanoseconds MediaTimeline::next(std::optional<Nanoseconds> stamp) {
  // A hundred years: sums below cannot overflow.
  constexpr Nanoseconds kFar = std::chrono::hours(24 * 365 * 100);
  if (stamp) stamp = std::clamp(*stamp, -kFar, kFar);
  const Nanoseconds following = std::exchange(has_frames_, true) ? last_ + period_ : last_;
  const bool restarts = std::exchange(restarts_, false);
  const auto note = [this](std::string what) {
    if (trouble_.empty()) trouble_ = std::move(what);
  };
  if (!stamp) {
    note("frames without time stamps are played at the nominal rate");
    return last_ = following;
  }
  if (restarts || !shift_) return last_ = continue_at(*stamp, following);
  const Nanoseconds due = *stamp + *shift_;
  if (due - last_ > kMaxGap) {
    note(fmt::format("time stamps jump ahead by {:.1f} s; the jump is left out",
                     seconds(due - last_)));
    return last_ = continue_at(*stamp, following);
  }
  if (due > last_) return last_ = due;
  if (last_ - due > kMaxStepBack) {
    note(fmt::format("time stamps jump back by {:.1f} s; playing goes on from there",
                     seconds(last_ - due)));
    return last_ = continue_at(*stamp, following);
  }
  note("time stamps are out of order; such frames are played at once");
  return last_ += Nanoseconds(1);
}

}  // namespace fovea::frames
