// Keeps a camera alive: opens it, notices that it went silent, reconnects with growing pauses, and
// knows when to give up. A capture thread is then a small loop:
//
//   SourceSupervisor supervisor(*source, options, [&](const SourceEvent& event) { log(event); });
//   while (true) {
//     const Grab grab = supervisor.grab(1s, stop);
//     if (grab.status == GrabStatus::kStopped || supervisor.finished()) break;
//     if (grab.status == GrabStatus::kFrame) { loan, source->retrieve(), publish }
//   }
//
// Thread safety: one thread, the one that uses the source. The event handler runs on it, inside
// grab().
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "nodes/camera/frame_source.hpp"

namespace fovea::frames {

enum class SourceState {
  kReconnecting,  // not connected: before the first frame, or between attempts
  kConnected,     // frames arrive
  kStalled,       // connected, but silent for longer than no_frame_timeout
  kEnded,         // a finite source played to its end; final
  kFailed,        // given up; final
};
std::string_view to_string(SourceState state);  // "connected", ...

struct SupervisorOptions {
  // Live sources only: a silence this long means stalled, and `reconnect_after` (from the last
  // frame, or from open) means closing and opening again. REQUIRES: no_frame_timeout <=
  // reconnect_after.
  Nanoseconds no_frame_timeout = std::chrono::seconds(2);
  Nanoseconds reconnect_after = std::chrono::seconds(5);
  // The pause before attempt n + 1 is backoff_initial * 2^(n-1), at most backoff_max, then
  // shortened by a random part of up to `jitter` (0..1), so that cameras which fell together do not
  // return together.
  Nanoseconds backoff_initial = std::chrono::milliseconds(500);
  Nanoseconds backoff_max = std::chrono::seconds(30);
  double jitter = 0.2;
  // Attempts without a single frame before giving up; 0 = never.
  std::uint32_t max_attempts = 0;
  std::uint64_t seed = 1;  // of the jitter
};

struct SourceEvent {
  SourceState from = SourceState::kReconnecting;
  SourceState to = SourceState::kReconnecting;
  Nanoseconds stamp{0};       // monotonic
  std::uint32_t attempt = 0;  // attempts without a frame so far
  Nanoseconds delay{0};       // until the next attempt, when `to` is kReconnecting
  std::string reason;         // why; empty for kConnected and kEnded
};

struct SupervisorCounters {
  std::uint64_t opens = 0;       // attempts, the first one included
  std::uint64_t reconnects = 0;  // times that a lost connection delivered again
  std::uint64_t stalls = 0;
};

class SourceSupervisor {
 public:
  // `source` and `clock` must outlive this object; `clock` must be the source's. Nothing is opened
  // yet.
  SourceSupervisor(FrameSource& source, const SupervisorOptions& options,
                   std::function<void(const SourceEvent&)> on_event,
                   Clock& clock = machine_clock());

  // The source's grab(), with opening, waiting and reconnecting in between, for about `timeout`.
  // kTimeout covers all of those; kEndOfStream means that finished() is true, and state() says how
  // it ended.
  Grab grab(Nanoseconds timeout, const std::stop_token& stop);

  SourceState state() const { return state_; }
  bool finished() const { return state_ == SourceState::kEnded || state_ == SourceState::kFailed; }
  const SupervisorCounters& counters() const { return counters_; }

 private:
  // nullopt: an attempt was made; otherwise what grab() returns.
  std::optional<Grab> connect(Nanoseconds deadline, const std::stop_token& stop);
  void watch_silence();
  // When watch_silence() has something to do, at the earliest.
  Nanoseconds next_watch() const;
  void on_frame();
  void on_source_error(const Error& error);
  void lose(std::string reason);
  void transition(SourceState to, std::string reason, Nanoseconds delay = Nanoseconds(0));
  Nanoseconds backoff();

  FrameSource& source_;
  SupervisorOptions options_;
  std::function<void(const SourceEvent&)> on_event_;
  Clock& clock_;
  SourceState state_ = SourceState::kReconnecting;
  bool opened_ = false;
  bool had_frames_ = false;
  std::uint32_t attempt_ = 0;
  Nanoseconds next_attempt_{0};
  Nanoseconds last_sign_{0};  // of life: the last frame, or opening
  std::mt19937_64 random_;
  SupervisorCounters counters_;
};

}  // namespace fovea::frames
