// One thread's event loop over ZeroMQ sockets, file descriptors and timers, woken by signals and by
// other threads. Callbacks run on the thread that calls run(), one at a time.
//
// Thread safety: post() and stop() from any thread (stop() from signal handlers too); everything
// else on the loop's thread, or before run(). A turn allocates nothing once the registrations have
// settled.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>

namespace fovea {

class Executor {
 public:
  using Callback = std::function<void()>;
  using Id = std::uint64_t;

  Executor();
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Level-triggered: called while readable. REQUIRES: the socket or descriptor outlives its
  // registration.
  Id add_socket(void* zmq_socket, Callback on_readable);
  Id add_fd(int fd, Callback on_readable);
  // Every `period` from now, by absolute deadlines; a late loop skips missed turns. Timers that are
  // due together run in the order of their deadlines. REQUIRES: period > 0.
  Id add_timer(std::chrono::nanoseconds period, Callback on_turn);
  // Unknown ids are ignored; allowed inside callbacks. The callback is not called again, not even
  // in the present turn.
  void remove(Id id);
  // Ids grow: removes what was registered since next_id() returned `first`.
  void remove_since(Id first);
  Id next_id() const;

  // Runs `task` on the loop's thread soon. The only calls allowed from other threads are post() and
  // stop().
  void post(Callback task);
  void stop();

  // Until stop(); at once if stop() was called before. May be called again afterwards.
  void run();
  // The stop signals, blocked by block_signals(), call `on_signal` on the loop's thread. One
  // executor of a process may do so.
  void set_signal_handler(std::function<void(int signal)> on_signal);

  // What ends a process in order: SIGINT, SIGTERM, and SIGHUP (its terminal was closed) unless it
  // was started with that one ignored, as nohup does.
  static sigset_t stop_signals();

  // Blocks the stop signals and ignores SIGPIPE. Call in main() before any thread starts, so that
  // signals arrive through the executor only. Child processes inherit both: start them with
  // POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF.
  static void block_signals();

  // A stop signal came since block_signals(), whether or not anyone has handled it yet. For
  // loops that block the executor's thread and must end by themselves. Any thread.
  static bool stop_signalled();
  // For whoever takes these signals instead of an executor.
  static void note_stop_signal();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea
