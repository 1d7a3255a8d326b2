// How the running graph becomes another one.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/supervision/member.hpp"
#include "launch/supervision/supervisor.hpp"

namespace fovea::launch {
namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Result<GraphDifference> Supervisor::apply(Graph graph) {
  if (stopping() || done_) return fail(ErrorCode::kUnavailable, "the launch is ending");
  FOVEA_TRY(check_graph(graph));
  for (const NodeAction& action : graph.nodes) {
    const auto before = programs_.find(action.name);
    if (before == programs_.end() || before->second == action.executable) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: `{}` was {}'s name in this launch, whose figures stay until its "
                            "end; choose another one",
                            action.where, action.name, before->second.filename().string()));
  }
  GraphDifference change = difference(graph_, graph);

  const auto goes = [&](const std::string& name) {
    return contains(change.stopped, name) || contains(change.restarted, name);
  };
  std::vector<std::unique_ptr<Member>> leaving;
  for (auto& member : members_) {
    if (!member->leaving && !goes(member->action.name)) continue;
    if (!member->leaving) {
      const std::vector<std::string> dependents = dependents_of(graph_, member->action.name);
      member->drains =
          !dependents.empty() && std::all_of(dependents.begin(), dependents.end(), goes);
      member->leaving = true;
      if (!member->runs() && !member->ended()) member->phase = Phase::kStopped;
    }
    leaving.push_back(std::move(member));
  }
  std::vector<std::unique_ptr<Member>> members;
  for (const NodeAction& action : graph.nodes) {
    const auto same = std::find_if(members_.begin(), members_.end(), [&](const auto& member) {
      return member != nullptr && member->action.name == action.name;
    });
    if (same != members_.end()) {
      members.push_back(std::move(*same));
    } else {
      members.push_back(std::make_unique<Member>());
      members.back()->on_request = true;
      members.back()->joins_late = contains(change.started, action.name);
    }
    members.back()->action = action;
  }
  for (auto& old : leaving) {
    for (const auto& member : members) {
      if (member->action.name != old->action.name) continue;
      member->restarts = old->restarts;
      member->joins_late |= old->joins();
    }
    members.push_back(std::move(old));
  }
  members_ = std::move(members);
  for (const std::string& name : change.started) removed_.erase(name);
  removed_.insert(change.stopped.begin(), change.stopped.end());
  for (const NodeAction& action : graph.nodes) programs_[action.name] = action.executable;
  graph_ = std::move(graph);
  may_end_ = false;  // what is gone now left on request
  report_change(change);
  turn();
  return change;
}

void Supervisor::report_change(const GraphDifference& change) const {
  std::string text;
  const auto append = [&](std::string_view verb, const std::vector<std::string>& names) {
    if (names.empty()) return;
    text += fmt::format("{}{} {}", text.empty() ? "" : "; ", verb, fmt::join(names, ", "));
  };
  append("stopping", change.stopped);
  append("restarting", change.restarted);
  append("starting", change.started);
  append("supervising anew", change.adjusted);
  if (!text.empty()) event(LogLevel::kInfo, "on request: " + text);
}

// Forgets the nodes that have left; those that take their places may start in the next turn.
void Supervisor::forget_left() {
  std::erase_if(members_, [](const auto& member) { return member->leaving && member->ended(); });
}

std::set<std::string, std::less<>> Supervisor::absent() const {
  std::set<std::string, std::less<>> absent = removed_;
  for (const auto& member : members_) {
    if (member->joins() && !member->leaving) absent.insert(member->action.name);
  }
  return absent;
}

bool Supervisor::changing() const {
  return std::any_of(members_.begin(), members_.end(),
                     [](const auto& member) { return member->leaving; });
}

}  // namespace fovea::launch
