#include "launch/supervision/control_requests.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "launch/language/suggest.hpp"
#include "launch/supervision/graph_difference.hpp"
#include "launch/supervision/preflight.hpp"
#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

using namespace std::chrono_literals;
using Operation = ControlRequest::Operation;

constexpr auto kTurn = 10ms;

ControlReply refusal(const Error& error) {
  ControlReply reply;
  reply.error = error.message;
  return reply;
}

Result<> check_known(const Graph& graph, const std::string& name) {
  if (graph.find(name) != nullptr) return {};
  std::vector<std::string> names;
  for (const NodeAction& node : graph.nodes) names.push_back(node.name);
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("no node `{}` in this launch{}", said(name), did_you_mean(name, names)));
}

}  // namespace

Result<Graph> without_nodes(const Graph& graph, const std::vector<std::string>& names) {
  const std::set<std::string> going(names.begin(), names.end());
  const auto goes = [&](const std::string& name) { return going.contains(name); };
  for (const std::string& name : going) {
    FOVEA_TRY(check_known(graph, name));
    std::vector<std::string> stay = dependents_of(graph, name);
    std::erase_if(stay, goes);
    if (stay.empty()) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} depend{} on node `{}`; remove {} with it", fmt::join(stay, ", "),
                            stay.size() == 1 ? "s" : "", name, stay.size() == 1 ? "it" : "them"));
  }
  Graph rest = graph;
  std::erase_if(rest.nodes, [&](const NodeAction& node) { return goes(node.name); });
  return rest;
}

Result<Graph> with_parameter(const Graph& graph, const std::string& node,
                             const std::string& parameter, const std::string& value) {
  FOVEA_TRY(check_known(graph, node));
  Graph changed = graph;
  const auto action = std::find_if(changed.nodes.begin(), changed.nodes.end(),
                                   [&](const NodeAction& n) { return n.name == node; });
  const auto given = std::find_if(action->parameters.begin(), action->parameters.end(),
                                  [&](const NameValue& pair) { return pair.first == parameter; });
  if (given != action->parameters.end()) {
    given->second = value;
  } else {
    action->parameters.emplace_back(parameter, value);
  }
  action->parameter_places[parameter] = "set_parameter";
  return changed;
}

ControlRequests::ControlRequests(Executor& executor, const Domain& domain, Supervisor& supervisor,
                                 LoadOptions options, std::chrono::milliseconds patience)
    : executor_(executor),
      domain_(domain),
      supervisor_(supervisor),
      options_(std::move(options)),
      patience_(patience) {}

ControlRequests::~ControlRequests() { executor_.remove(timer_); }

void ControlRequests::handle(std::string_view line, Reply reply) {
  auto request = parse_request(line);
  if (!request) return reply(to_json(refusal(request.error())));
  if (request->operation == Operation::kList) {
    ControlReply list;
    list.pid = getpid();
    list.nodes = supervisor_.report();
    return reply(to_json(list));
  }
  changes_.push_back({std::move(*request), std::move(reply)});
  if (timer_ == 0) timer_ = executor_.add_timer(kTurn, [this] { turn(); });
  turn();
}

void ControlRequests::turn() {
  if (check_) {
    if (!check_->over()) return;
    finish();
  } else if (!changes_.empty() && (!supervisor_.changing() || supervisor_.stopping())) {
    if (auto begun = begin(changes_.front().request); !begun) answer(refusal(begun.error()));
  }
  if (changes_.empty()) executor_.remove(std::exchange(timer_, 0));
}

// Checks all that can be checked at once, and asks the programs of nodes that are to start.
Result<> ControlRequests::begin(const ControlRequest& request) {
  if (supervisor_.stopping()) return fail(ErrorCode::kUnavailable, "the launch is ending");
  FOVEA_ASSIGN(graph_, wanted(request));
  const GraphDifference change = difference(supervisor_.graph(), graph_);
  Graph fresh;
  for (const std::string& name : change.started) fresh.nodes.push_back(*graph_.find(name));
  if (!fresh.nodes.empty()) {
    FOVEA_TRY(check_descriptors(graph_));
    FOVEA_TRY(check_owners(fresh, domain_));
    FOVEA_TRY(check_names_free(fresh, domain_, 0ms));
    FOVEA_TRY(check_shared_memory(fresh, domain_));
  }
  for (const std::string& name : change.restarted) fresh.nodes.push_back(*graph_.find(name));
  FOVEA_ASSIGN(check_, ParameterCheck::ask(fresh.nodes, domain_, patience_));
  return {};
}

Result<Graph> ControlRequests::wanted(const ControlRequest& request) const {
  const Graph& running = supervisor_.graph();
  switch (request.operation) {
    case Operation::kAddNode: {
      const EntrySource source{request.source.empty() ? "add_node" : request.source,
                               request.directory.empty() ? "." : request.directory};
      try {
        return add_entry(running, request.entry, source, options_);
      } catch (const std::exception& error) {  // of the libraries beneath; the launch goes on
        return fail(ErrorCode::kInternal, fmt::format("{}: {}", source.name, error.what()));
      }
    }
    case Operation::kRemoveNode:
      return without_nodes(running, request.nodes);
    case Operation::kSetParameter:
      return with_parameter(running, request.node, request.parameter, request.value);
    case Operation::kList:
      break;
  }
  return running;
}

void ControlRequests::finish() {
  const auto unchecked = check_->outcome();
  check_.reset();
  if (!unchecked) return answer(refusal(unchecked.error()));
  auto change = supervisor_.apply(std::exchange(graph_, {}));
  if (!change) return answer(refusal(change.error()));
  ControlReply reply;
  reply.started = std::move(change->started);
  reply.stopped = std::move(change->stopped);
  reply.restarted = std::move(change->restarted);
  reply.warnings = *unchecked;
  answer(reply);
}

void ControlRequests::answer(const ControlReply& reply) {
  const Change change = std::move(changes_.front());
  changes_.pop_front();
  change.reply(to_json(reply));
}

}  // namespace fovea::launch
