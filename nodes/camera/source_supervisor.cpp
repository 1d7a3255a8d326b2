// The reconnect policy of source_supervisor.hpp.
#include "nodes/camera/source_supervisor.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/check.hpp"

namespace fovea::frames {

namespace {

// Even a zero pause in the configuration must not become a busy loop.
constexpr Nanoseconds kMinBackoff = std::chrono::milliseconds(1);

double seconds(Nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

std::string_view to_string(SourceState state) {
  switch (state) {
    case SourceState::kReconnecting:
      return "reconnecting";
    case SourceState::kConnected:
      return "connected";
    case SourceState::kStalled:
      return "stalled";
    case SourceState::kEnded:
      return "ended";
    case SourceState::kFailed:
      return "failed";
  }
  return "invalid";
}

SourceSupervisor::SourceSupervisor(FrameSource& source, const SupervisorOptions& options,
                                   std::function<void(const SourceEvent&)> on_event, Clock& clock)
    : source_(source),
      options_(options),
      on_event_(std::move(on_event)),
      clock_(clock),
      random_(options.seed) {
  FOVEA_CHECK(options.no_frame_timeout <= options.reconnect_after);
  FOVEA_CHECK(options.jitter >= 0 && options.jitter <= 1);
}

Grab SourceSupervisor::grab(Nanoseconds timeout, const std::stop_token& stop) {
  const Nanoseconds deadline = deadline_after(clock_.monotonic(), timeout);
  while (true) {
    if (finished()) return Grab{.status = GrabStatus::kEndOfStream};
    if (stop.stop_requested()) return Grab{.status = GrabStatus::kStopped};
    if (!opened_) {
      if (auto waiting = connect(deadline, stop)) return *std::move(waiting);
      continue;
    }
    auto grabbed = source_.grab(std::min(deadline, next_watch()) - clock_.monotonic(), stop);
    if (!grabbed) {
      on_source_error(grabbed.error());
      continue;
    }
    switch (grabbed->status) {
      case GrabStatus::kFrame:
        on_frame();
        return *std::move(grabbed);
      case GrabStatus::kStopped:
        return *std::move(grabbed);
      case GrabStatus::kBadFrame:
        watch_silence();
        return *std::move(grabbed);
      case GrabStatus::kTimeout:
        watch_silence();
        if (clock_.monotonic() >= deadline) return *std::move(grabbed);
        break;
      case GrabStatus::kEndOfStream:
        if (source_.info().is_live) {
          lose("the stream ended");
        } else {
          source_.close();
          opened_ = false;
          transition(SourceState::kEnded, {});
        }
        break;
    }
  }
}

std::optional<Grab> SourceSupervisor::connect(Nanoseconds deadline, const std::stop_token& stop) {
  const Nanoseconds now = clock_.monotonic();
  if (now < next_attempt_) {
    if (now >= deadline) return Grab{.status = GrabStatus::kTimeout};
    if (!clock_.sleep_until(std::min(next_attempt_, deadline), stop)) {
      return Grab{.status = GrabStatus::kStopped};
    }
    if (clock_.monotonic() < next_attempt_) return Grab{.status = GrabStatus::kTimeout};
  }
  ++attempt_;
  ++counters_.opens;
  const auto opened = source_.open(stop);
  if (stop.stop_requested()) return Grab{.status = GrabStatus::kStopped};
  if (opened) {
    opened_ = true;
    last_sign_ = clock_.monotonic();
    return std::nullopt;
  }
  const Error& error = opened.error();
  const bool is_hopeless =
      error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kUnsupported;
  if (is_hopeless) {
    transition(SourceState::kFailed, error.message);
  } else {
    lose(error.message);
  }
  return std::nullopt;
}

Nanoseconds SourceSupervisor::next_watch() const {
  if (!source_.info().is_live) return Nanoseconds::max();
  const bool is_connected = state_ == SourceState::kConnected;
  return last_sign_ + (is_connected ? options_.no_frame_timeout : options_.reconnect_after);
}

void SourceSupervisor::watch_silence() {
  if (!source_.info().is_live) return;
  const Nanoseconds silence = clock_.monotonic() - last_sign_;
  if (state_ == SourceState::kConnected && silence >= options_.no_frame_timeout) {
    ++counters_.stalls;
    transition(SourceState::kStalled, fmt::format("no frame for {:.1f} s", seconds(silence)));
  }
  if (silence >= options_.reconnect_after) {
    lose(fmt::format("no frame for {:.1f} s", seconds(silence)));
  }
}

void SourceSupervisor::on_frame() {
  last_sign_ = clock_.monotonic();
  attempt_ = 0;
  if (state_ == SourceState::kConnected) return;
  if (state_ == SourceState::kReconnecting && std::exchange(had_frames_, true)) {
    ++counters_.reconnects;
  }
  transition(SourceState::kConnected, {});
}

// A damaged file that does not loop would only play the same frames again.
void SourceSupervisor::on_source_error(const Error& error) {
  const SourceInfo& info = source_.info();
  if (info.is_live || info.loops || state_ != SourceState::kConnected) return lose(error.message);
  source_.close();
  opened_ = false;
  transition(SourceState::kFailed, error.message);
}

void SourceSupervisor::lose(std::string reason) {
  source_.close();
  opened_ = false;
  if (options_.max_attempts > 0 && attempt_ >= options_.max_attempts) {
    transition(SourceState::kFailed,
               fmt::format("{} (attempt {} of {})", reason, attempt_, options_.max_attempts));
    return;
  }
  const Nanoseconds delay = backoff();
  next_attempt_ = clock_.monotonic() + delay;
  transition(SourceState::kReconnecting, std::move(reason), delay);
}

Nanoseconds SourceSupervisor::backoff() {
  const std::uint32_t doublings = std::min(attempt_ > 0 ? attempt_ - 1 : 0, 30u);
  const double longest = seconds(options_.backoff_max);
  const double pause =
      std::min(longest, seconds(options_.backoff_initial) * static_cast<double>(1u << doublings));
  const double random = static_cast<double>(random_() >> 11) * 0x1.0p-53;
  const std::chrono::duration<double> jittered(pause * (1 - options_.jitter * random));
  return std::max(kMinBackoff, std::chrono::duration_cast<Nanoseconds>(jittered));
}

void SourceSupervisor::transition(SourceState to, std::string reason, Nanoseconds delay) {
  const SourceEvent event{.from = std::exchange(state_, to),
                          .to = to,
                          .stamp = clock_.monotonic(),
                          .attempt = attempt_,
                          .delay = delay,
                          .reason = std::move(reason)};
  if (on_event_) on_event_(event);
}

}  // namespace fovea::frames
