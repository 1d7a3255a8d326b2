// Asks nodes' programs whether they would take their parameters (`--check-params`), all at once and
// without waiting: wrong ones, and files that are not there, are found before anything starts.
//
// Thread safety: none; one thread. The programs end with the object.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/language/graph.hpp"
#include "launch/supervision/child_process.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::launch {

class ParameterCheck {
 public:
  // Starts the programs. One that gives no answer within `patience` is left to the supervisor.
  // Errors: a program that cannot be started.
  static Result<ParameterCheck> ask(const std::vector<NodeAction>& nodes, const Domain& domain,
                                    std::chrono::milliseconds patience = std::chrono::seconds(5));

  // Takes in what has been said. True once all have answered or the patience is used up: then
  // outcome() tells. Never blocks.
  bool over();

  // A line for each program that gave no answer, to be shown. Errors: kInvalidArgument with one
  // line per node that refuses, each with file and line of the value. REQUIRES: over().
  Result<std::vector<std::string>> outcome() const;

  // Blocks until over().
  Result<std::vector<std::string>> wait();

 private:
  struct Question {
    NodeAction node;
    std::unique_ptr<ChildProcess> process;
    std::string refusal;  // its last word
    std::optional<ExitStatus> answer;
  };

  std::vector<Question> questions_;
  std::chrono::milliseconds patience_{};
  std::chrono::steady_clock::time_point deadline_;
};

}  // namespace fovea::launch
