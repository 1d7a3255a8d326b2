// Waits with ppoll() on the sockets' ZMQ_FDs instead of zmq_poll(): that one counts in milliseconds
// and allocates beyond 16 items. ZMQ_FD alone is edge-triggered, so ZMQ_EVENTS of every socket is
// read before each wait and again after it, which makes the whole level-triggered.
#include "nodes/runtime/executor.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <limits>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#include "nodes/base/check.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/runtime/log.hpp"

namespace fovea {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// Process-wide, as signals are.
std::atomic<bool> stop_signal_came{false};

struct Registration {
  Executor::Id id = 0;
  void* socket = nullptr;  // one of socket, fd and period is set
  int fd = -1;
  std::int64_t period = 0;  // ns
  std::int64_t deadline = kNever;
  Executor::Callback callback;
  bool removed = false;
};

bool readable(void* socket) {
  int events = 0;
  std::size_t size = sizeof(events);
  return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

int descriptor(void* socket) {
  int fd = -1;
  std::size_t size = sizeof(fd);
  if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) return -1;
  return fd;
}

}  // namespace

struct Executor::Impl {
  // Callbacks may add and remove registrations while these are walked: pointers stay valid, new
  // ones go to the end, removed ones are only marked until the turn is over.
  std::vector<std::unique_ptr<Registration>> registrations;
  std::vector<pollfd> items;  // wake, signals, then one per registration in order
  bool changed = true;
  bool in_turn = false;
  Id next_id = 1;

  int wake_fd = -1;
  int signal_fd = -1;
  std::function<void(int)> on_signal;
  std::atomic<bool> stopped{false};

  std::mutex mutex;
  std::vector<Callback> posted;   // guarded by mutex
  std::vector<Callback> running;  // swapped with posted, so that both keep their memory

  static constexpr std::size_t kWake = 0, kSignal = 1, kFirst = 2;

  Id add(Registration registration) {
    registration.id = next_id++;
    registrations.push_back(std::make_unique<Registration>(std::move(registration)));
    changed = true;
    return registrations.back()->id;
  }

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd, &one, sizeof(one));
  }

  void sweep() {
    std::erase_if(registrations, [](const auto& r) { return r->removed; });
    changed = true;
  }

  void rebuild() {
    items.clear();
    items.push_back({wake_fd, POLLIN, 0});
    items.push_back({signal_fd, POLLIN, 0});  // negative descriptors are skipped by poll
    for (const auto& r : registrations) {
      items.push_back({r->socket != nullptr ? descriptor(r->socket) : r->fd, POLLIN, 0});
    }
    changed = false;
  }

  void wait() {
    std::int64_t until = kNever;
    for (const auto& r : registrations) {
      if (r->period > 0) until = std::min(until, r->deadline);
      if (r->socket != nullptr && readable(r->socket)) until = 0;
    }
    timespec timeout{};
    if (until != kNever) {
      const std::int64_t left = std::max<std::int64_t>(0, until - monotonic_ns());
      timeout = {left / 1'000'000'000, left % 1'000'000'000};
    }
    for (pollfd& item : items) item.revents = 0;
    // EINTR and ENOMEM leave nothing readable: the turn runs its timers and comes back.
    ppoll(items.data(), items.size(), until == kNever ? nullptr : &timeout, nullptr);
  }

  void run_posted() {
    if (items[kWake].revents == 0) return;
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = read(wake_fd, &count, sizeof(count));
    {
      const std::lock_guard lock(mutex);
      running.swap(posted);
    }
    for (Callback& task : running) task();
    running.clear();
  }

  void run_signals() {
    if (items[kSignal].revents == 0) return;
    signalfd_siginfo info{};
    while (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
      note_stop_signal();
      if (on_signal) on_signal(static_cast<int>(info.ssi_signo));
    }
  }

  void run_readable(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      Registration& r = *registrations[i];
      if (r.removed) continue;
      if (r.socket != nullptr) {
        if (readable(r.socket)) r.callback();
        continue;
      }
      const short revents = items[kFirst + i].revents;
      if ((revents & POLLNVAL) != 0) {
        log_error("descriptor {} was closed while the executor watched it", r.fd);
        r.removed = true;
      } else if (revents != 0) {
        r.callback();  // also on hang-up and error: reading tells which
      }
    }
  }

  // The next timer that was due at `now`, earliest deadline first.
  Registration* next_due(std::int64_t now) const {
    Registration* due = nullptr;
    for (const auto& r : registrations) {
      if (r->removed || r->period == 0 || r->deadline > now) continue;
      if (due == nullptr || r->deadline < due->deadline) due = r.get();
    }
    return due;
  }

  void run_timers() {
    const std::int64_t now = monotonic_ns();
    while (Registration* timer = next_due(now)) {
      timer->deadline += ((now - timer->deadline) / timer->period + 1) * timer->period;
      timer->callback();
    }
  }

  void turn() {
    const bool any_removed = std::any_of(registrations.begin(), registrations.end(),
                                         [](const auto& r) { return r->removed; });
    if (any_removed) sweep();
    if (changed) rebuild();
    wait();
    const std::size_t count = registrations.size();  // those added from here on have no item yet
    in_turn = true;
    run_signals();
    run_posted();
    run_timers();
    run_readable(count);
    in_turn = false;
  }
};

Executor::Executor() : impl_(std::make_unique<Impl>()) {
  impl_->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (impl_->wake_fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Executor::~Executor() {
  close(impl_->wake_fd);
  if (impl_->signal_fd >= 0) close(impl_->signal_fd);
}

Executor::Id Executor::add_socket(void* zmq_socket, Callback on_readable) {
  FOVEA_CHECK(zmq_socket != nullptr);
  Registration registration;
  registration.socket = zmq_socket;
  registration.callback = std::move(on_readable);
  return impl_->add(std::move(registration));
}

Executor::Id Executor::add_fd(int fd, Callback on_readable) {
  FOVEA_CHECK(fd >= 0);
  Registration registration;
  registration.fd = fd;
  registration.callback = std::move(on_readable);
  return impl_->add(std::move(registration));
}

Executor::Id Executor::add_timer(std::chrono::nanoseconds period, Callback on_turn) {
  FOVEA_CHECK(period.count() > 0);
  Registration registration;
  registration.period = std::max<std::int64_t>(1, period.count());
  registration.deadline = monotonic_ns() + registration.period;
  registration.callback = std::move(on_turn);
  return impl_->add(std::move(registration));
}

void Executor::remove(Id id) {
  for (const auto& r : impl_->registrations) {
    if (r->id == id) r->removed = true;
  }
  if (!impl_->in_turn) impl_->sweep();
}

void Executor::remove_since(Id first) {
  for (const auto& r : impl_->registrations) {
    if (r->id >= first) r->removed = true;
  }
  if (!impl_->in_turn) impl_->sweep();
}

Executor::Id Executor::next_id() const { return impl_->next_id; }

void Executor::post(Callback task) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->posted.push_back(std::move(task));
  }
  impl_->wake();
}

void Executor::stop() {
  impl_->stopped.store(true);
  impl_->wake();
}

void Executor::run() {
  while (!impl_->stopped.exchange(false)) impl_->turn();
}

void Executor::set_signal_handler(std::function<void(int signal)> on_signal) {
  impl_->on_signal = std::move(on_signal);
  if (impl_->signal_fd >= 0) return;
  const sigset_t signals = stop_signals();
  impl_->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (impl_->signal_fd < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  impl_->changed = true;
}

sigset_t Executor::stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // A blocked signal reaches a signalfd although it is ignored.
  struct sigaction hang_up {};
  if (sigaction(SIGHUP, nullptr, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN)
    sigaddset(&signals, SIGHUP);
  return signals;
}

void Executor::block_signals() {
  const sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  stop_signal_came.store(false);
}

bool Executor::stop_signalled() {
  if (stop_signal_came.load()) return true;
  sigset_t pending;
  sigset_t both;
  const sigset_t wanted = stop_signals();
  return sigpending(&pending) == 0 && sigandset(&both, &pending, &wanted) == 0 &&
         sigisemptyset(&both) == 0;
}

void Executor::note_stop_signal() { stop_signal_came.store(true); }

}  // namespace fovea

#ifdef __SANITIZE_THREAD__
// Debian's libzmq is not instrumented: ThreadSanitizer cannot see how its threads hand messages over.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "race:libzmq.so\n"; }
#endif
