#include "launch/supervision/supervisor.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <deque>

#include <fmt/format.h>

#include "launch/supervision/child_process.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/runtime/figures/metrics.hpp"

namespace fovea::launch {
namespace {

using namespace std::chrono_literals;

constexpr auto kTurn = 20ms;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kRetryWindow = 60 * kSecond;
// A node that was active for so long has worked: what ends it then is no failure to start, and
// neither the delay nor the number of retries carries over. Long enough to tell a node that dies of
// its first frame.
constexpr std::int64_t kWorkingRun = kSecond;
constexpr double kMaxBackoffSeconds = 5.0;
// Draining ends when the count has stood still for this long, or after the longest wait.
constexpr std::int64_t kDrainQuiet = kSecond;
constexpr std::int64_t kDrainLongest = 5 * kSecond;
constexpr int kExitBadParameters = 2;
constexpr std::size_t kRememberedLines = 8;

std::int64_t to_ns(Seconds seconds) { return static_cast<std::int64_t>(seconds.count() * 1e9); }

// `[12:34:56.789] [cam0] [error] text` -> `text`.
std::string_view without_prefix(std::string_view line) {
  for (int i = 0; i < 3 && line.starts_with('['); ++i) {
    const std::size_t end = line.find("] ");
    if (end == std::string_view::npos) break;
    line.remove_prefix(end + 2);
  }
  return line;
}

// What a node printed last about an error; null when it died without a word.
const std::string* last_error(const std::deque<std::string>& lines) {
  const auto found = std::find_if(lines.rbegin(), lines.rend(), [](const std::string& line) {
    return line.find("error") != std::string::npos;
  });
  return found == lines.rend() ? nullptr : &*found;
}

}  // namespace

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::kWaiting:
      return "waiting";
    case Phase::kStarting:
      return "starting";
    case Phase::kActive:
      return "active";
    case Phase::kBackoff:
      return "backoff";
    case Phase::kStopping:
      return "stopping";
    case Phase::kStopped:
      return "stopped";
    case Phase::kFinished:
      return "finished";
    case Phase::kFailed:
      return "failed";
  }
  return "unknown";
}

struct Supervisor::Member {
  const NodeAction* action = nullptr;
  Phase phase = Phase::kWaiting;
  bool was_active = false;
  std::uint64_t restarts = 0;

  std::unique_ptr<ChildProcess> process;
  std::unique_ptr<MetricsReader> metrics;  // of the present process
  Executor::Id exit_id = 0;
  Executor::Id output_id = 0;
  std::deque<std::string> last_lines;

  std::int64_t spawned_ns = 0;
  std::int64_t active_ns = 0;     // since when the present process is active; 0 = not yet
  std::int64_t last_life_ns = 0;  // newest heartbeat, or the start
  std::int64_t restart_at_ns = 0;
  int failures_in_a_row = 0;
  std::deque<std::int64_t> recent_restarts;
  std::string kill_reason;  // why we killed it, empty when we did not

  std::int64_t next_rung_ns = 0;
  int last_signal = 0;

  bool runs() const { return process != nullptr; }
  bool ended() const {
    return phase == Phase::kStopped || phase == Phase::kFinished || phase == Phase::kFailed;
  }
};

Supervisor::Supervisor(Executor& executor, const Domain& domain, Graph graph, Callbacks callbacks)
    : executor_(executor),
      domain_(domain),
      graph_(std::move(graph)),
      callbacks_(std::move(callbacks)) {
  for (const NodeAction& action : graph_.nodes) {
    members_.push_back(std::make_unique<Member>());
    members_.back()->action = &action;
  }
}

Supervisor::~Supervisor() {
  executor_.remove(timer_);
  for (const auto& member : members_) {
    executor_.remove(member->exit_id);
    executor_.remove(member->output_id);
  }
}

void Supervisor::start() {
  timer_ = executor_.add_timer(kTurn, [this] { turn(); });
  turn();
}

bool Supervisor::all_active() const {
  return std::all_of(members_.begin(), members_.end(),
                     [](const auto& member) { return member->phase == Phase::kActive; });
}

bool Supervisor::settled() const {
  return std::all_of(members_.begin(), members_.end(), [](const auto& member) {
    return member->phase == Phase::kActive || member->ended();
  });
}

std::vector<NodeReport> Supervisor::report() const {
  std::vector<NodeReport> reports;
  for (const auto& member : members_) {
    reports.push_back({member->action->name, member->phase,
                       member->runs() ? member->process->pid() : 0, member->restarts});
  }
  return reports;
}

void Supervisor::turn() {
  if (done_) return;
  for (const auto& member : members_) {
    if (member->runs()) {
      watch(*member);
    } else if (!stopping()) {
      const bool due = member->phase == Phase::kBackoff && monotonic_ns() >= member->restart_at_ns;
      if (due || (member->phase == Phase::kWaiting && may_start(*member))) spawn(*member);
    }
  }
  if (stopping()) advance_stop();
  finish_if_all_ended();
}

bool Supervisor::may_start(const Member& member) const {
  return std::all_of(member.action->depends_on.begin(), member.action->depends_on.end(),
                     [this](const std::string& name) {
                       return std::any_of(members_.begin(), members_.end(), [&](const auto& other) {
                         return other->action->name == name && other->was_active;
                       });
                     });
}

Result<std::unique_ptr<ChildProcess>> Supervisor::run(const NodeAction& action,
                                                      std::uint64_t restarts) const {
  FOVEA_ASSIGN(const FileHandle parameters, write_assignments(assignments(action)));
  std::vector<std::string> words = command_line(action, domain_.name(), true);
  words.insert(words.end(), {"--keep-metrics", "--control-fd", std::to_string(kControlFd),
                             "--restarts", std::to_string(restarts)});
  return ChildProcess::spawn(words, action.environment, parameters.get());
}

void Supervisor::spawn(Member& member) {
  const NodeAction& action = *member.action;
  if (member.phase == Phase::kBackoff) {
    ++member.restarts;
    member.recent_restarts.push_back(monotonic_ns());
  }
  member.metrics.reset();
  member.kill_reason.clear();
  member.last_lines.clear();
  member.last_signal = 0;
  member.spawned_ns = member.last_life_ns = monotonic_ns();
  member.active_ns = 0;
  auto child = run(action, member.restarts);
  if (!child) return give_up(member, child.error().message);
  member.process = std::move(*child);
  member.phase = Phase::kStarting;
  member.exit_id =
      executor_.add_fd(member.process->exit_fd(), [this, &member] { handle_exit(member); });
  member.output_id = executor_.add_fd(member.process->output_fd(), [this, &member] {
    const bool open = member.process->read_output([&](std::string_view line) {
      member.last_lines.emplace_back(line);
      if (member.last_lines.size() > kRememberedLines) member.last_lines.pop_front();
      if (callbacks_.on_output) callbacks_.on_output(line);
    });
    if (!open) executor_.remove(std::exchange(member.output_id, 0));
  });
}

// Readiness, heartbeat, and the next rung of the ladder.
void Supervisor::watch(Member& member) {
  if (member.phase == Phase::kStopping) return climb_ladder(member);
  find_page(member);
  if (member.metrics) {
    member.last_life_ns = std::max(member.last_life_ns, member.metrics->last_beat_ns());
    const bool active = member.metrics->state() == msgs::LifecycleState::kActive;
    if (active && member.phase == Phase::kStarting) {
      member.phase = Phase::kActive;
      member.was_active = true;
      member.active_ns = monotonic_ns();
      event(
          LogLevel::kInfo,
          fmt::format("{} is active (pid {}, {:.1f} s)", member.action->name, member.process->pid(),
                      static_cast<double>(monotonic_ns() - member.spawned_ns) / 1e9));
    }
  }
  const bool starting = member.phase == Phase::kStarting;
  const Seconds limit = starting ? member.action->start_timeout : member.action->heartbeat_timeout;
  if (member.kill_reason.empty() && monotonic_ns() - member.last_life_ns > to_ns(limit)) {
    member.kill_reason = starting ? fmt::format("did not become active within {} s", limit.count())
                                  : fmt::format("gave no heartbeat for {} s", limit.count());
    member.process->signal(SIGKILL);
  }
}

void Supervisor::find_page(Member& member) const {
  if (member.metrics) return;
  // A predecessor's page lies there until this process takes it over.
  auto reader = MetricsReader::open(domain_, member.action->name);
  if (reader && (*reader)->pid() == static_cast<std::uint32_t>(member.process->pid())) {
    member.metrics = std::move(*reader);
  }
}

void Supervisor::handle_exit(Member& member) {
  const std::optional<ExitStatus> status = member.process->reap();
  if (!status) return;
  executor_.remove(std::exchange(member.exit_id, 0));
  executor_.remove(std::exchange(member.output_id, 0));
  member.process->read_output([&](std::string_view line) {
    member.last_lines.emplace_back(line);
    if (callbacks_.on_output) callbacks_.on_output(line);
  });
  const bool was_told = member.phase == Phase::kStopping;
  find_page(member);
  const bool work_done =
      status->success() && member.metrics != nullptr && member.metrics->value(kFinishedCounter) > 0;
  member.process.reset();
  member.metrics.reset();

  const std::string& name = member.action->name;
  if (was_told) {
    member.phase = Phase::kStopped;
    if (!status->success()) {
      event(LogLevel::kWarning, fmt::format("{} {} while stopping", name, to_string(*status)));
    }
  } else if (work_done) {
    member.phase = Phase::kFinished;
    member.was_active = true;
    event(LogLevel::kInfo, fmt::format("{} has finished", name));
  } else if (stopping()) {
    // Its turn to be told had not come; what it would be restarted for has ended.
    member.phase = Phase::kStopped;
    event(LogLevel::kWarning, fmt::format("{} {} before it was told to", name, to_string(*status)));
  } else {
    const std::string how = !member.kill_reason.empty() ? member.kill_reason
                            : status->success()         ? "ended without being asked"
                                                        : to_string(*status);
    const bool hopeless = !status->by_signal && status->code == kExitBadParameters;
    hopeless ? give_up(member, how) : handle_failure(member, how);
  }
  turn();
}

void Supervisor::handle_failure(Member& member, const std::string& what) {
  const NodeAction& action = *member.action;
  const std::int64_t now = monotonic_ns();
  if (member.active_ns != 0 && now - member.active_ns >= kWorkingRun) {
    member.failures_in_a_row = 0;
    member.recent_restarts.clear();
  }
  while (!member.recent_restarts.empty() && now - member.recent_restarts.front() > kRetryWindow) {
    member.recent_restarts.pop_front();
  }
  if (!action.respawn) return give_up(member, what);
  const auto retries = static_cast<std::int64_t>(member.recent_restarts.size());
  if (action.respawn_max_retries >= 0 && retries >= action.respawn_max_retries) {
    return give_up(member, fmt::format("{}, after {} restarts within a minute", what, retries));
  }
  const double delay =
      std::min(std::ldexp(action.respawn_delay.count(), std::min(member.failures_in_a_row, 30)),
               std::max(kMaxBackoffSeconds, action.respawn_delay.count()));
  ++member.failures_in_a_row;
  member.restart_at_ns = now + to_ns(Seconds(delay));
  member.phase = Phase::kBackoff;
  event(LogLevel::kWarning, fmt::format("{} {}; restart in {:.1f} s", action.name, what, delay));
}

// The node has failed for good; without it the launch may be pointless.
void Supervisor::give_up(Member& member, const std::string& what) {
  member.phase = Phase::kFailed;
  std::string message =
      fmt::format("{}: node `{}` {}", member.action->where, member.action->name, what);
  if (const std::string* reason = last_error(member.last_lines)) {
    message += fmt::format(": {}", without_prefix(*reason));
  }
  if (error_.empty()) error_ = message;
  event(LogLevel::kError, message);
  if (!member.was_active || graph_.has_dependents(member.action->name)) stop_because(message);
}

void Supervisor::stop_because(const std::string& error) {
  if (error_.empty()) error_ = error;
  if (!stopping()) stop();
}

void Supervisor::finish_if_all_ended() {
  const auto is_leaf = [this](const Member& member) {
    return !graph_.has_dependents(member.action->name);
  };
  const bool leaves_ended = std::all_of(members_.begin(), members_.end(), [&](const auto& member) {
    return member->ended() || !is_leaf(*member);
  });
  if (leaves_ended && !stopping()) stop();
  const bool all_ended = std::all_of(members_.begin(), members_.end(),
                                     [](const auto& member) { return member->ended(); });
  if (!all_ended || done_) return;
  done_ = true;
  executor_.remove(std::exchange(timer_, 0));
  if (callbacks_.on_done) callbacks_.on_done();
}

// --- stopping
// -------------------------------------------------------------------------------------------

void Supervisor::stop() {
  ++stop_requests_;
  for (const auto& member : members_) {
    if (!member->runs() && !member->ended()) member->phase = Phase::kStopped;
    if (stop_requests_ == 2 && member->runs()) begin_stop(*member, SIGTERM);
    if (stop_requests_ >= 3 && member->runs()) begin_stop(*member, SIGKILL);
  }
}

// Tells every node to end whose dependents have all ended, once what they sent has been taken in.
void Supervisor::advance_stop() {
  std::vector<Member*> wave;
  for (const auto& member : members_) {
    const auto blocks = [&](const std::unique_ptr<Member>& other) {
      const auto& needs = other->action->depends_on;
      return !other->ended() &&
             std::find(needs.begin(), needs.end(), member->action->name) != needs.end();
    };
    if (!member->runs() || member->phase == Phase::kStopping) continue;
    if (std::none_of(members_.begin(), members_.end(), blocks)) wave.push_back(member.get());
  }
  for (Member* member : wave) {
    // Nobody sends to a node that nothing depends on; after a failure there is nobody to drain to.
    const bool takes_in = graph_.has_dependents(member->action->name) && error_.empty();
    if (!takes_in || drained()) begin_stop(*member, SIGINT);
  }
}

// Nothing is in flight any more, or what is will not arrive.
bool Supervisor::drained() {
  const std::uint64_t count = callbacks_.in_flight ? callbacks_.in_flight() : 0;
  if (count <= drain_residue_) {
    drain_began_ns_ = 0;
    return true;
  }
  const std::int64_t now = monotonic_ns();
  if (drain_began_ns_ == 0) drain_began_ns_ = drain_changed_ns_ = now;
  if (count != drain_last_) drain_changed_ns_ = now;
  drain_last_ = count;
  if (now - drain_changed_ns_ < kDrainQuiet && now - drain_began_ns_ < kDrainLongest) return false;
  drain_residue_ = count;
  return true;
}

void Supervisor::begin_stop(Member& member, int signal) {
  if (member.last_signal == SIGKILL) return;
  member.phase = Phase::kStopping;
  member.last_signal = signal;
  const Seconds patience =
      signal == SIGINT ? member.action->sigterm_timeout : member.action->sigkill_timeout;
  member.next_rung_ns = monotonic_ns() + to_ns(patience);
  member.process->signal(signal);
}

void Supervisor::climb_ladder(Member& member) {
  if (member.last_signal == SIGKILL || monotonic_ns() < member.next_rung_ns) return;
  const int next = member.last_signal == SIGINT ? SIGTERM : SIGKILL;
  event(LogLevel::kWarning, fmt::format("{} did not end after {}; sending {}", member.action->name,
                                        member.last_signal == SIGINT ? "SIGINT" : "SIGTERM",
                                        next == SIGTERM ? "SIGTERM" : "SIGKILL"));
  begin_stop(member, next);
}

void Supervisor::event(LogLevel level, std::string_view text) const {
  if (callbacks_.on_event) callbacks_.on_event(level, text);
}

}  // namespace fovea::launch
