#include "launch/supervision/parameter_check.hpp"

#include <algorithm>

#include <fmt/core.h>
#include <poll.h>

#include "nodes/base/text.hpp"
#include "nodes/runtime/process/node_options.hpp"
#include "nodes/runtime/process/parameter_stream.hpp"

namespace fovea::launch {
namespace {

constexpr std::size_t kLongestRefusal = 1000;

// Whether a refusal says by itself where the value was written.
bool has_place(const NodeAction& node, const std::string& refusal) {
  if (refusal.find(".yaml:") != std::string::npos) return true;
  return std::any_of(node.parameter_places.begin(), node.parameter_places.end(),
                     [&](const auto& place) { return refusal.starts_with(place.second + ":"); });
}

}  // namespace

Result<ParameterCheck> ParameterCheck::ask(const std::vector<NodeAction>& nodes,
                                           const Domain& domain,
                                           std::chrono::milliseconds patience) {
  ParameterCheck check;
  check.patience_ = patience;
  for (const NodeAction& node : nodes) {
    FOVEA_ASSIGN(const FileHandle parameters, write_assignments(assignments(node)));
    std::vector<std::string> words = command_line(node, domain.name(), true);
    words.emplace_back("--check-params");
    auto process = ChildProcess::spawn(words, node.environment, parameters.get());
    if (!process) return fail(process.error().with_context(node.where));
    check.questions_.push_back({node, std::move(*process), "", std::nullopt});
  }
  check.deadline_ = std::chrono::steady_clock::now() + patience;
  return check;
}

bool ParameterCheck::over() {
  bool all_answered = true;
  for (Question& question : questions_) {
    if (question.answer) continue;
    question.answer = question.process->reap();  // before its last words are read
    question.process->read_output([&](std::string_view line) {
      constexpr std::string_view kLead = "error: ";
      if (line.starts_with(kLead))
        question.refusal = said(line.substr(kLead.size()), kLongestRefusal);
    });
    all_answered &= question.answer.has_value();
  }
  return all_answered || std::chrono::steady_clock::now() >= deadline_;
}

Result<std::vector<std::string>> ParameterCheck::wait() {
  while (!over()) {
    std::vector<pollfd> ends;
    for (const Question& question : questions_) {
      if (question.answer) continue;
      ends.push_back({question.process->exit_fd(), POLLIN, 0});
      // Who prints more than the pipe holds goes on only when we read.
      ends.push_back({question.process->output_fd(), POLLIN, 0});
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline_ - std::chrono::steady_clock::now());
    poll(ends.data(), ends.size(), static_cast<int>(std::max<std::int64_t>(left.count(), 0) + 1));
  }
  return outcome();
}

Result<std::vector<std::string>> ParameterCheck::outcome() const {
  std::string refusals;
  std::vector<std::string> silent;
  for (const Question& question : questions_) {
    const NodeAction& node = question.node;
    if (!question.answer) {
      silent.push_back(fmt::format(
          "{}: node `{}` did not answer --check-params within {} s: its parameters are not checked",
          node.where, node.name, std::chrono::duration<double>(patience_).count()));
    }
    if (!question.answer || question.answer->by_signal || question.answer->code != kExitUsage)
      continue;
    const std::string why = question.refusal.empty() ? "wrong parameters" : question.refusal;
    refusals += fmt::format("{}node `{}`: {}{}", refusals.empty() ? "" : "\n", node.name,
                            has_place(node, why) ? "" : node.where + ": ", why);
  }
  if (refusals.empty()) return silent;
  return fail(ErrorCode::kInvalidArgument, refusals);
}

}  // namespace fovea::launch
