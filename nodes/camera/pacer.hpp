// When frames are due, and the clock that says so. Deadlines lie on a grid counted from the first
// frame, so late wake-ups never add up to drift; tests put their own clock behind the same code.
//
// Thread safety: a Pacer belongs to one thread; a Clock may be shared.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>

namespace fovea::frames {

using Nanoseconds = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanoseconds monotonic() const = 0;  // CLOCK_MONOTONIC
  virtual Nanoseconds realtime() const = 0;   // CLOCK_REALTIME
  // Returns at `deadline` (monotonic), or at once when `stop` is requested. False when stopped.
  virtual bool sleep_until(Nanoseconds deadline, const std::stop_token& stop) = 0;
};

// The machine's clocks. Lives for ever.
Clock& machine_clock();

// now + timeout without overflow, so that Nanoseconds::max() may mean "for ever".
Nanoseconds deadline_after(Nanoseconds now, Nanoseconds timeout);

enum class WaitResult { kDue, kTimeout, kStopped };

// Frame n is due at anchor + n / rate; the anchor is the first call, or the next instant of the
// clock that lies `phase` of a period behind a multiple of the period.
class Pacer {
 public:
  // `rate` in Hz; zero, negative or infinite means that every frame is due at once.
  // REQUIRES: phase in [0, 1) if given.
  Pacer(double rate, Clock& clock, std::optional<double> phase = std::nullopt)
      : rate_(rate), clock_(&clock), phase_(phase) {}

  // Waits for the next deadline but no longer than `timeout`; kDue consumes the deadline. More than
  // a second late (a paused process), the grid starts anew instead of releasing a burst of overdue
  // frames.
  WaitResult wait(Nanoseconds timeout, const std::stop_token& stop);

  // The same for a frame of a file that says when it is due: `offset` after the file's first frame,
  // never falling. Such a file is played by these calls alone, and the rate only says how much was
  // skipped.
  WaitResult wait_for(Nanoseconds offset, Nanoseconds timeout, const std::stop_token& stop);

  // For sources that cannot be slowed down: whether a frame that arrived now is to be kept. A frame
  // up to `tolerance` early counts as on time, so jitter does not halve the rate.
  bool admit(Nanoseconds tolerance);

  // The deadline that the last kDue of wait() or wait_for() consumed; nullopt where every frame is due at once.
  std::optional<Nanoseconds> due() const { return due_; }
  // Deadlines given up because the grid started anew.
  std::uint64_t skipped() const { return skipped_; }

 private:
  bool unlimited() const;
  Nanoseconds deadline() const;
  Nanoseconds grid_start(Nanoseconds now) const;
  void start_grid(Nanoseconds now);
  WaitResult wait_until(Nanoseconds due, Nanoseconds now, Nanoseconds timeout,
                        const std::stop_token& stop);

  double rate_;
  Clock* clock_;
  std::optional<double> phase_;
  bool started_ = false;
  Nanoseconds anchor_{0};
  std::uint64_t count_ = 0;  // deadlines consumed since the anchor
  std::optional<Nanoseconds> due_;
  std::uint64_t skipped_ = 0;
};

}  // namespace fovea::frames
