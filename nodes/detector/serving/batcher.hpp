// Turns the frames of many cameras into batches: at most one waiting frame per camera (a newer one
// supersedes it), served in the order in which cameras began to wait, so none starves and the
// frames of one camera never overtake each other.
//
// BatchQueue is the plain policy, Batcher adds the lock and the waiting. Nothing allocates after
// construction.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "nodes/base/check.hpp"

namespace fovea {

struct BatchPolicy {
  // Most frames in one batch. Turn it up for a GPU; on a CPU a batch is worked off one by one, so a
  // large one only makes its first frame wait for its last.
  std::size_t max_batch = 4;
  // How long the oldest waiting frame may wait for others. 0 takes whatever waits at once.
  std::chrono::nanoseconds max_delay{0};
};

// Thread safety: none.
template <class Frame>
class BatchQueue {
 public:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    std::size_t camera;
    Frame frame;
  };

  BatchQueue(std::size_t cameras, BatchPolicy policy) : waiting_(cameras), policy_(policy) {
    order_.reserve(cameras);
    policy_.max_batch =
        std::clamp<std::size_t>(policy.max_batch, 1, std::max<std::size_t>(cameras, 1));
  }

  // Queues a frame; returns the older frame of that camera that it supersedes, if one was waiting.
  // The newer frame inherits the older one's turn.
  std::optional<Frame> put(std::size_t camera, Frame frame, Clock::time_point now) {
    FOVEA_CHECK(camera < waiting_.size());
    std::optional<Frame> superseded = std::exchange(waiting_[camera].frame, std::move(frame));
    if (!superseded) {
      waiting_[camera].since = now;
      order_.push_back(camera);
    }
    return superseded;
  }

  // When the next batch is due: nullopt while nothing waits, the past if it is full or overdue.
  std::optional<Clock::time_point> due() const {
    if (order_.empty()) return std::nullopt;
    if (order_.size() >= policy_.max_batch) return Clock::time_point::min();
    return waiting_[order_.front()].since + policy_.max_delay;
  }

  // Moves up to max_batch frames, longest waiting first, into `batch` (cleared first).
  void take(std::vector<Entry>& batch) {
    batch.clear();
    const std::size_t count = std::min(order_.size(), policy_.max_batch);
    for (std::size_t i = 0; i < count; ++i) {
      batch.push_back(
          {order_[i], std::move(*std::exchange(waiting_[order_[i]].frame, std::nullopt))});
    }
    order_.erase(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(count));
  }

  bool waits(std::size_t camera) const { return waiting_[camera].frame.has_value(); }

  std::size_t max_batch() const { return policy_.max_batch; }

 private:
  struct Slot {
    std::optional<Frame> frame;
    Clock::time_point since;
  };
  std::vector<Slot> waiting_;
  std::vector<std::size_t> order_;  // cameras with a waiting frame, longest waiting first
  BatchPolicy policy_;
};

// Thread safety: put() and close() from any thread, wait() from one.
template <class Frame>
class Batcher {
 public:
  using Entry = typename BatchQueue<Frame>::Entry;

  Batcher(std::size_t cameras, BatchPolicy policy) : queue_(cameras, policy) {}

  std::optional<Frame> put(std::size_t camera, Frame frame) {
    std::optional<Frame> superseded;
    {
      const std::lock_guard lock(mutex_);
      superseded = queue_.put(camera, std::move(frame), BatchQueue<Frame>::Clock::now());
    }
    changed_.notify_one();
    return superseded;
  }

  // For frames of which none may be lost: waits until the camera's last one has been taken. False,
  // and the frame is dropped, once closed.
  bool put_in_turn(std::size_t camera, Frame frame) {
    {
      std::unique_lock lock(mutex_);
      taken_.wait(lock, [&] { return closed_ || !queue_.waits(camera); });
      if (queue_.waits(camera)) return false;
      queue_.put(camera, std::move(frame), BatchQueue<Frame>::Clock::now());
    }
    changed_.notify_one();
    return true;
  }

  // Blocks until a batch is due; false once closed and empty. What waits at close() still comes
  // out.
  bool wait(std::vector<Entry>& batch) {
    std::unique_lock lock(mutex_);
    for (;;) {
      const auto due = queue_.due();
      if (due && (closed_ || *due <= BatchQueue<Frame>::Clock::now())) break;
      if (closed_) return false;
      if (due) {
        changed_.wait_until(lock, *due);
      } else {
        changed_.wait(lock);
      }
    }
    queue_.take(batch);
    lock.unlock();
    taken_.notify_all();
    return true;
  }

  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    taken_.notify_all();
  }

  std::size_t max_batch() const { return queue_.max_batch(); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable taken_;
  BatchQueue<Frame> queue_;
  bool closed_ = false;
};

}  // namespace fovea
