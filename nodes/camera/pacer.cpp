// Deadline arithmetic of pacer.hpp and the real clock's interruptible sleep.
#include "nodes/camera/pacer.hpp"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>

namespace fovea::frames {

namespace {

constexpr Nanoseconds kMaxLateness = std::chrono::seconds(1);
constexpr Nanoseconds kMaxTimeout = std::chrono::hours(24 * 365);

class MachineClock final : public Clock {
 public:
  Nanoseconds monotonic() const override {
    return std::chrono::steady_clock::now().time_since_epoch();
  }
  Nanoseconds realtime() const override {
    return std::chrono::system_clock::now().time_since_epoch();
  }
  bool sleep_until(Nanoseconds deadline, const std::stop_token& stop) override {
    std::mutex mutex;
    std::condition_variable_any condition;
    std::unique_lock lock(mutex);
    condition.wait_until(lock, stop,
                         std::chrono::time_point<std::chrono::steady_clock, Nanoseconds>(deadline),
                         [] { return false; });
    return !stop.stop_requested();
  }
};

}  // namespace

Clock& machine_clock() {
  static MachineClock clock;
  return clock;
}

Nanoseconds deadline_after(Nanoseconds now, Nanoseconds timeout) {
  return now + std::clamp(timeout, Nanoseconds(0), kMaxTimeout);
}

bool Pacer::unlimited() const { return !(rate_ > 0) || std::isinf(rate_); }

Nanoseconds Pacer::deadline() const {
  return anchor_ + Nanoseconds(std::llround(static_cast<double>(count_) * 1e9 / rate_));
}

Nanoseconds Pacer::grid_start(Nanoseconds now) const {
  if (!phase_) return now;
  const double period = 1e9 / rate_;
  const double first = *phase_ * period;
  const double periods = std::ceil((static_cast<double>(now.count()) - first) / period);
  return Nanoseconds(std::llround(first + periods * period));
}

void Pacer::start_grid(Nanoseconds now) {
  const Nanoseconds anchor = grid_start(now);
  if (started_) {
    const std::chrono::duration<double> lost = anchor - deadline();
    skipped_ += static_cast<std::uint64_t>(std::max(std::llround(lost.count() * rate_), 0ll));
  }
  started_ = true;
  anchor_ = anchor;
  count_ = 0;
}

WaitResult Pacer::wait(Nanoseconds timeout, const std::stop_token& stop) {
  if (stop.stop_requested()) return WaitResult::kStopped;
  if (unlimited()) return WaitResult::kDue;
  const Nanoseconds now = clock_->monotonic();
  if (!started_ || now - deadline() > kMaxLateness) start_grid(now);
  const WaitResult result = wait_until(deadline(), now, timeout, stop);
  if (result == WaitResult::kDue) ++count_;
  return result;
}

WaitResult Pacer::wait_for(Nanoseconds offset, Nanoseconds timeout, const std::stop_token& stop) {
  if (stop.stop_requested()) return WaitResult::kStopped;
  const Nanoseconds now = clock_->monotonic();
  const Nanoseconds lateness = started_ ? now - (anchor_ + offset) : Nanoseconds(0);
  if (!started_ || lateness > kMaxLateness) {
    const Nanoseconds start = unlimited() ? now : grid_start(now);
    if (started_ && !unlimited()) {
      const std::chrono::duration<double> lost = start - (anchor_ + offset);
      skipped_ += static_cast<std::uint64_t>(std::max(std::llround(lost.count() * rate_), 0ll));
    }
    started_ = true;
    anchor_ = start - offset;
  }
  return wait_until(anchor_ + offset, now, timeout, stop);
}

WaitResult Pacer::wait_until(Nanoseconds due, Nanoseconds now, Nanoseconds timeout,
                             const std::stop_token& stop) {
  const Nanoseconds limit = deadline_after(now, timeout);
  if (due > now && !clock_->sleep_until(std::min(due, limit), stop)) return WaitResult::kStopped;
  if (due > limit) return WaitResult::kTimeout;
  due_ = due;
  return WaitResult::kDue;
}

bool Pacer::admit(Nanoseconds tolerance) {
  if (unlimited()) return true;
  const Nanoseconds now = clock_->monotonic();
  if (!started_ || now - deadline() > kMaxLateness) start_grid(now);
  if (now + tolerance < deadline()) return false;
  ++count_;
  return true;
}

}  // namespace fovea::frames
