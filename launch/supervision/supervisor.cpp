#include "launch/supervision/supervisor.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <deque>

#include <fmt/core.h>

#include "launch/supervision/child_process.hpp"
#include "launch/supervision/member.hpp"
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
constexpr int kExitBadParameters = 2;
constexpr std::size_t kRememberedLines = 8;

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

Supervisor::Supervisor(Executor& executor, const Domain& domain, Graph graph, Callbacks callbacks)
    : executor_(executor),
      domain_(domain),
      graph_(std::move(graph)),
      callbacks_(std::move(callbacks)) {
  for (const NodeAction& action : graph_.nodes) {
    members_.push_back(std::make_unique<Member>());
    members_.back()->action = action;
    programs_[action.name] = action.executable;
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
  return std::all_of(members_.begin(), members_.end(), [](const auto& member) {
    return member->phase == Phase::kActive && !member->leaving;
  });
}

bool Supervisor::settled() const {
  return std::all_of(members_.begin(), members_.end(), [this](const auto& member) {
    return !member->leaving &&
           (member->phase == Phase::kActive || member->ended() || waits_in_vain(*member));
  });
}

const std::string& Supervisor::error() const {
  if (!error_.empty()) return error_;
  const auto failed = std::find_if(members_.begin(), members_.end(),
                                   [](const auto& member) { return !member->failure.empty(); });
  return failed == members_.end() ? error_ : (*failed)->failure;
}

std::vector<NodeReport> Supervisor::report() const {
  std::vector<NodeReport> reports;
  for (const auto& member : members_) {
    // Its predecessor is what there is of it.
    if (member->phase == Phase::kWaiting && has_predecessor(*member)) continue;
    reports.push_back({member->action.name, member->phase,
                       member->runs() ? member->process->pid() : 0, member->restarts});
  }
  return reports;
}

void Supervisor::turn() {
  if (done_) return;
  for (const auto& member : members_) {
    if (member->runs()) {
      watch(*member);
    } else if (!stopping() && !member->leaving) {
      const bool due = member->phase == Phase::kBackoff && monotonic_ns() >= member->restart_at_ns;
      if (due || (member->phase == Phase::kWaiting && may_start(*member))) spawn(*member);
    }
  }
  stopping() ? advance_stop() : advance_leaving();
  forget_left();
  finish_if_all_ended();
}

bool Supervisor::may_start(const Member& member) const {
  const auto& needs = member.action.depends_on;
  return !has_predecessor(member) &&
         std::all_of(needs.begin(), needs.end(), [this](const std::string& name) {
           const Member* other = find(name);
           return other != nullptr && other->was_active;
         });
}

// It waits for a node that has failed before it was ever active.
bool Supervisor::waits_in_vain(const Member& member) const {
  const auto& needs = member.action.depends_on;
  return member.phase == Phase::kWaiting &&
         std::any_of(needs.begin(), needs.end(), [this](const std::string& name) {
           const Member* other = find(name);
           return other != nullptr &&
                  ((other->phase == Phase::kFailed && !other->was_active) || waits_in_vain(*other));
         });
}

// Of the graph as it is to be.
const Supervisor::Member* Supervisor::find(std::string_view name) const {
  const auto found = std::find_if(members_.begin(), members_.end(), [&](const auto& member) {
    return !member->leaving && member->action.name == name;
  });
  return found == members_.end() ? nullptr : found->get();
}

// Another process has its name and has not ended yet.
bool Supervisor::has_predecessor(const Member& member) const {
  return std::any_of(members_.begin(), members_.end(), [&](const auto& other) {
    return other->leaving && !other->ended() && other->action.name == member.action.name;
  });
}

bool Supervisor::has_dependents(const std::string& name) const {
  return std::any_of(members_.begin(), members_.end(), [&](const auto& member) {
    return !member->leaving && member->depends_on(name);
  });
}

bool Supervisor::Member::depends_on(const std::string& name) const {
  return std::find(action.depends_on.begin(), action.depends_on.end(), name) !=
         action.depends_on.end();
}

Result<std::unique_ptr<ChildProcess>> Supervisor::run(const Member& member) const {
  FOVEA_ASSIGN(const FileHandle parameters, write_assignments(assignments(member.action)));
  std::vector<std::string> words = command_line(member.action, domain_.name(), true);
  words.insert(words.end(), {"--keep-metrics", "--control-fd", std::to_string(kControlFd),
                             "--restarts", std::to_string(member.restarts)});
  if (member.joins()) words.emplace_back("--joins-late");
  return ChildProcess::spawn(words, member.action.environment, parameters.get());
}

void Supervisor::spawn(Member& member) {
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
  auto child = run(member);
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
          fmt::format("{} is active (pid {}, {:.1f} s)", member.action.name, member.process->pid(),
                      static_cast<double>(monotonic_ns() - member.spawned_ns) / 1e9));
    }
  }
  const bool starting = member.phase == Phase::kStarting;
  const Seconds limit = starting ? member.action.start_timeout : member.action.heartbeat_timeout;
  if (member.kill_reason.empty() && monotonic_ns() - member.last_life_ns > to_ns(limit)) {
    member.kill_reason = starting ? fmt::format("did not become active within {} s", limit.count())
                                  : fmt::format("gave no heartbeat for {} s", limit.count());
    member.process->signal(SIGKILL);
  }
}

void Supervisor::find_page(Member& member) const {
  if (member.metrics) return;
  // A predecessor's page lies there until this process takes it over.
  auto reader = MetricsReader::open(domain_, member.action.name);
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

  const std::string& name = member.action.name;
  if (was_told || member.leaving) {
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
  may_end_ |= member.ended() && !member.leaving && !failed_on_request(member);
  turn();
}

void Supervisor::handle_failure(Member& member, const std::string& what) {
  const NodeAction& action = member.action;
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

// The node has failed for good; without it the launch may be pointless. What came on request and
// never worked can be mended by another request.
void Supervisor::give_up(Member& member, const std::string& what) {
  member.phase = Phase::kFailed;
  std::string message =
      fmt::format("{}: node `{}` {}", member.action.where, member.action.name, what);
  if (const std::string* reason = last_error(member.last_lines)) {
    message += fmt::format(": {}", without_prefix(*reason));
  }
  member.failure = message;
  event(LogLevel::kError, message);
  if (failed_on_request(member)) return;
  may_end_ = true;
  if (!member.was_active || has_dependents(member.action.name)) stop_because(message);
}

bool Supervisor::failed_on_request(const Member& member) {
  return member.phase == Phase::kFailed && member.on_request && !member.was_active;
}

bool Supervisor::failed_on_request(std::string_view name) const {
  const Member* member = find(name);
  return member != nullptr && failed_on_request(*member);
}

void Supervisor::stop_because(const std::string& error) {
  if (error_.empty()) error_ = error;
  if (!stopping()) stop();
}

void Supervisor::finish_if_all_ended() {
  const bool leaves_ended = std::all_of(members_.begin(), members_.end(), [&](const auto& member) {
    return member->ended() || waits_in_vain(*member) || has_dependents(member->action.name);
  });
  if (leaves_ended && may_end_ && !stopping()) stop();
  const bool all_ended = std::all_of(members_.begin(), members_.end(),
                                     [](const auto& member) { return member->ended(); });
  if (!all_ended || done_) return;
  done_ = true;
  executor_.remove(std::exchange(timer_, 0));
  if (callbacks_.on_done) callbacks_.on_done();
}

void Supervisor::event(LogLevel level, std::string_view text) const {
  if (callbacks_.on_event) callbacks_.on_event(level, text);
}

}  // namespace fovea::launch
