#include "nodes/runtime/process/node_runner.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/log.hpp"

namespace fovea {
namespace {

using State = msgs::LifecycleState;
using std::chrono_literals::operator""ms;

// Reads the stop signals on a thread of its own: the executor's may be deep in on_configure(),
// and then a further signal must still end the process.
class SignalWatcher {
 public:
  SignalWatcher(std::function<void(int signal)> on_first, int abort_at)
      : on_first_(std::move(on_first)), abort_at_(abort_at) {
    const sigset_t signals = Executor::stop_signals();
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
    stop_fd_ = eventfd(0, EFD_CLOEXEC);
    if (signal_fd_ < 0 || stop_fd_ < 0) throw std::runtime_error("signalfd: no descriptors left");
    thread_ = std::thread([this] { watch(); });
  }
  ~SignalWatcher() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(stop_fd_, &one, sizeof(one));
    thread_.join();
    close(signal_fd_);
    close(stop_fd_);
  }
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  void watch() {
    std::array<pollfd, 2> items{pollfd{signal_fd_, POLLIN, 0}, pollfd{stop_fd_, POLLIN, 0}};
    int count = 0;
    for (;;) {
      if (poll(items.data(), items.size(), -1) < 0) continue;
      if (items[1].revents != 0) return;
      signalfd_siginfo info{};
      if (read(signal_fd_, &info, sizeof(info)) != sizeof(info)) continue;
      const int signal = static_cast<int>(info.ssi_signo);
      if (++count >= abort_at_) _exit(128 + signal);
      if (count > 1) continue;
      Executor::note_stop_signal();
      on_first_(signal);
    }
  }

  std::function<void(int)> on_first_;
  int abort_at_;
  int signal_fd_ = -1;
  int stop_fd_ = -1;
  std::thread thread_;
};

// Whether trying again could help: a busy name or a full /dev/shm may pass, a broken model not.
int exit_code_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
      return kExitUsage;
    case ErrorCode::kUnavailable:
    case ErrorCode::kExhausted:
    case ErrorCode::kInternal:
      return kExitFailure;
  }
  return kExitFailure;
}

}  // namespace

NodeRunner::NodeRunner(std::unique_ptr<Node> node, ParameterSet parameters, NodeOptions options)
    : parameters_(std::move(parameters)), options_(std::move(options)), node_(std::move(node)) {
  node_->runner_ = this;
}

NodeRunner::~NodeRunner() = default;

int NodeRunner::run() {
  const SignalWatcher signals(
      [this](int signal) {
        log_info("SIG{}: stopping", sigabbrev_np(signal));
        request_shutdown(kExitOk);
      },
      node_->stop_signals_to_abort());
  if (const Result<> started = start(); !started) {
    log_error("{}", started.error().message);
    if (metrics_) {
      metrics_->set_state(State::kFinalized);
      metrics_->set_status(msgs::DiagnosticLevel::kError, without_secrets(started.error().message));
    }
    return exit_code_of(started.error());
  }
  if (options_.autostart) executor_.post([this] { autostart(); });
  try {
    executor_.run();
  } catch (const std::exception& e) {
    log_error("{}", e.what());
    set_status(msgs::DiagnosticLevel::kError, e.what());
    request_shutdown(kExitFailure);
  }
  shut_down();
  return exit_code_.load();
}

Result<> NodeRunner::start() {
  FOVEA_ASSIGN(domain_, Domain::open(options_.domain));
  FOVEA_ASSIGN(metrics_, MetricsPage::create(*domain_, name(), node_->type()));
  if (options_.keep_metrics) metrics_->keep();
  metrics_->set_joins_late(options_.joins_late);
  if (options_.restarts >= 0)
    metrics_->set_starts(static_cast<std::uint32_t>(options_.restarts) + 1);
  metrics_->counter(kFinishedCounter) = 0;  // of a predecessor that was told to play once more

  QoS latched;
  latched.durability = Durability::kTransientLocal;
  FOVEA_ASSIGN(status_publisher_,
               Publisher<msgs::NodeStatus>::create(*domain_, name() + "/status", latched));
  executor_.add_socket(status_publisher_->socket(),
                       [this] { status_publisher_->subscription_count(); });

  ControlOperations operations;
  operations.state = [this] { return state(); };
  operations.change_state = [this](Transition transition) { return change_state(transition); };
  operations.parameters_json = [this] { return parameters_.to_json(); };
  operations.shutdown = [this] { request_shutdown(kExitOk); };
  FOVEA_ASSIGN(control_,
               ControlServer::create(*domain_, name(), [operations](std::string_view request) {
                 return answer_control(request, operations);
               }));
  executor_.add_socket(control_->socket(), [this] { control_->serve(); });

  executor_.add_timer(200ms, [this] {
    metrics_->beat();
    end_without_descriptors();
  });
  executor_.add_timer(1000ms, [this] { publish_status(); });
  if (options_.control_fd >= 0) watch_supervisor();
  first_of_node_ = executor_.next_id();
  publish_status();
  return {};
}

void NodeRunner::watch_supervisor() {
  const int fd = options_.control_fd;
  fcntl(fd, F_SETFD, FD_CLOEXEC);  // a child of the node must not keep the pipe
  const Executor::Id id = executor_.next_id();
  executor_.add_fd(fd, [this, fd, id] {
    std::array<char, 64> ignored;
    const ssize_t got = read(fd, ignored.data(), ignored.size());
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return;
    executor_.remove(id);
    log_warning("the supervisor is gone: stopping");
    request_shutdown(kExitOk);
  });
}

// Without a descriptor nothing new can be opened, mapped or accepted: such a node would lose frames
// and look well. Tried twice, since another thread may just have given one back.
void NodeRunner::end_without_descriptors() {
  const FileHandle probe(eventfd(0, EFD_CLOEXEC));
  if (probe || (errno != EMFILE && errno != ENFILE)) {
    without_descriptors_ = 0;
  } else if (++without_descriptors_ == 2) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const std::string what = fmt::format(
        "no file descriptor is left ({}): this process may open {}; raise the limit (ulimit -Hn)",
        std::strerror(errno), limit.rlim_cur);
    log_error("{}", what);
    set_status(msgs::DiagnosticLevel::kError, what);
    request_shutdown(kExitFailure);
  }
}

void NodeRunner::autostart() {
  for (const Transition transition : {Transition::kConfigure, Transition::kActivate}) {
    if (is_ending_.load()) return;
    if (const Result<> result = change_state(transition); !result) {
      if (!gave_up_to_stop(result.error())) request_shutdown(exit_code_of(result.error()));
      return;
    }
  }
}

// A hook that was cut short because the node shall stop is no failure.
bool NodeRunner::gave_up_to_stop(const Error& error) const {
  const bool stops = is_ending_.load() || Executor::stop_signalled();
  return stops && error.code == ErrorCode::kUnavailable;
}

void NodeRunner::shut_down() {
  const auto leave = [this](State from, Transition transition) {
    if (state() != from) return;
    const Result<> left = change_state(transition);
    if (!left && !gave_up_to_stop(left.error())) request_shutdown(kExitFailure);
  };
  leave(State::kActive, Transition::kDeactivate);
  leave(State::kInactive, Transition::kCleanup);
  if (state() != State::kFinalized) leave(state(), Transition::kShutdown);
  executor_.remove_since(first_of_node_);
}

Result<> NodeRunner::change_state(Transition transition) {
  FOVEA_TRY(lifecycle_.begin(transition));
  announce_state();
  Result<> result;
  Outcome outcome = Outcome::kSuccess;
  try {
    result = call_hook(transition);
    if (!result) outcome = Outcome::kFailure;
  } catch (const std::exception& e) {
    result = fail(ErrorCode::kInternal, e.what());
    outcome = Outcome::kError;
  }
  if (transition == Transition::kConfigure && !result) executor_.remove_since(first_of_node_);
  lifecycle_.finish(outcome);
  if (lifecycle_.state() == State::kErrorProcessing) lifecycle_.finish(Outcome::kFailure);
  if (!result && gave_up_to_stop(result.error())) {
    log_info("{}: {}", to_string(transition), result.error().message);
  } else if (!result) {
    log_error("{}: {}", to_string(transition), result.error().message);
    set_status(msgs::DiagnosticLevel::kError, result.error().message);
  }
  announce_state();
  if (lifecycle_.state() == State::kFinalized) request_shutdown(result ? kExitOk : kExitFailure);
  return result;
}

Result<> NodeRunner::call_hook(Transition transition) {
  switch (transition) {
    case Transition::kConfigure:
      FOVEA_TRY(node_->check_parameters());
      return node_->on_configure();
    case Transition::kActivate:
      return node_->on_activate();
    case Transition::kDeactivate:
      return node_->on_deactivate();
    case Transition::kCleanup:
      executor_.remove_since(first_of_node_);  // before the node closes what they watch
      return node_->on_cleanup();
    case Transition::kShutdown:
      return {};
  }
  return {};
}

void NodeRunner::announce_state() {
  state_.store(lifecycle_.state());
  metrics_->set_state(lifecycle_.state());
  metrics_->beat();
  const bool is_news = lifecycle_.state() == State::kActive;
  if (is_news) metrics_->set_joins_late(false);  // from here on what it misses is lost
  log_message(is_news ? LogLevel::kInfo : LogLevel::kDebug, msgs::enum_name(lifecycle_.state()));
  publish_status();
}

void NodeRunner::publish_status() {
  is_status_due_.store(false);
  msgs::NodeStatus status;
  status.header.stamp_monotonic = monotonic_ns();
  status.header.stamp_realtime = realtime_ns();
  status.header.frame_id = std::string_view(name());
  status.node = std::string_view(name());
  status.type = std::string_view(node_->type());
  status.pid = static_cast<std::uint32_t>(getpid());
  status.state = state();
  {
    const std::lock_guard lock(status_mutex_);
    status.level = status_level_;
    status.message = std::string_view(status_text_);
  }
  status_publisher_->publish(status);
}

void NodeRunner::set_status(msgs::DiagnosticLevel level, std::string_view message) {
  {
    const std::lock_guard lock(status_mutex_);
    status_level_ = level;
    status_text_ = without_secrets(message);
    metrics_->set_status(level, status_text_);
  }
  // Several changes before the loop turns make one message.
  if (!is_status_due_.exchange(true)) executor_.post([this] { publish_status(); });
}

void NodeRunner::finish() {
  metrics_->counter(kFinishedCounter) = 1;
  request_shutdown(kExitOk);
}

void NodeRunner::request_shutdown(int exit_code) {
  int none = kExitOk;
  exit_code_.compare_exchange_strong(none, exit_code);
  is_ending_.store(true);
  executor_.stop();
}

}  // namespace fovea
