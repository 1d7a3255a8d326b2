// How nodes end on request: in which order, after what has drained, by which signals.
#include <algorithm>
#include <csignal>

#include <fmt/core.h>

#include "launch/supervision/member.hpp"
#include "launch/supervision/supervisor.hpp"

namespace fovea::launch {

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
  for (Member* member : next_to_stop([](const Member&) { return true; })) {
    // Nobody sends to a node that nothing depends on; after a failure there is nobody to drain to.
    const bool takes_in = (member->drains || has_dependents(member->action.name)) && error_.empty();
    if (!takes_in || drain_.done(in_flight(""))) begin_stop(*member, SIGINT);
  }
}

// The same for the nodes that leave while the others run on.
void Supervisor::advance_leaving() {
  for (Member* member : next_to_stop([](const Member& other) { return other.leaving; })) {
    if (!member->drains || member->drain.done(in_flight(member->action.name)))
      begin_stop(*member, SIGINT);
  }
}

// The running nodes that have not been told, out of `among`, of which none has a dependent there.
std::vector<Supervisor::Member*> Supervisor::next_to_stop(
    const std::function<bool(const Member&)>& among) const {
  std::vector<Member*> wave;
  for (const auto& member : members_) {
    const auto blocks = [&](const std::unique_ptr<Member>& other) {
      return among(*other) && !other->ended() && other->depends_on(member->action.name);
    };
    if (!among(*member) || !member->runs() || member->phase == Phase::kStopping) continue;
    if (std::none_of(members_.begin(), members_.end(), blocks)) wave.push_back(member.get());
  }
  return wave;
}

std::uint64_t Supervisor::in_flight(std::string_view node) const {
  return callbacks_.in_flight ? callbacks_.in_flight(node) : 0;
}

void Supervisor::begin_stop(Member& member, int signal) {
  if (member.last_signal == SIGKILL) return;
  member.phase = Phase::kStopping;
  member.last_signal = signal;
  const Seconds patience =
      signal == SIGINT ? member.action.sigterm_timeout : member.action.sigkill_timeout;
  member.next_rung_ns = monotonic_ns() + to_ns(patience);
  member.process->signal(signal);
}

void Supervisor::climb_ladder(Member& member) {
  if (member.last_signal == SIGKILL || monotonic_ns() < member.next_rung_ns) return;
  const int next = member.last_signal == SIGINT ? SIGTERM : SIGKILL;
  event(LogLevel::kWarning, fmt::format("{} did not end after {}; sending {}", member.action.name,
                                        member.last_signal == SIGINT ? "SIGINT" : "SIGTERM",
                                        next == SIGTERM ? "SIGTERM" : "SIGKILL"));
  begin_stop(member, next);
}

}  // namespace fovea::launch
