// One thread's event loop over ZeroMQ sockets, file descriptors and timers, woken by signals and by other
// threads. Callbacks run on the thread that calls run(), one at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace fovea {

class Executor {
 public:
  using Callback = std::function<void()>;
  using Id = std::uint64_t;

  Executor();
  ~Executor();

  // Level-triggered: called while readable. REQUIRES: the socket or descriptor outlives its registration.
  Id add_socket(void* zmq_socket, Callback on_readable);
  Id add_fd(int fd, Callback on_readable);
  // Every `period` from now, by absolute deadlines; a late loop skips missed turns.
  Id add_timer(std::chrono::nanoseconds period, Callback on_turn);
  // Unknown ids are ignored; allowed inside callbacks.
  void remove(Id id);

  // Runs `task` on the loop's thread soon. The only calls allowed from other threads are post() and stop().
  void post(Callback task);
  void stop();

  // Until stop(). SIGINT and SIGTERM are blocked process-wide by block_signals() and call `on_signal` here.
  void run();
  void set_signal_handler(std::function<void(int signal)> on_signal);

  // Call in main() before any thread starts, so that signals arrive through the executor only.
  static void block_signals();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea
