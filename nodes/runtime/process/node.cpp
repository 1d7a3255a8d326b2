#include "nodes/runtime/process/node.hpp"

#include <cstdio>
#include <exception>
#include <utility>
#include <variant>

#include "nodes/base/instruction_set.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node_options.hpp"
#include "nodes/runtime/process/node_runner.hpp"

namespace fovea {

namespace {

// Before values are printed; the process ends afterwards.
void hide_secrets(const ParameterSet& parameters) {
  for (const Parameter& parameter : parameters.all()) {
    if (auto* const* text = std::get_if<std::string*>(&parameter.target)) {
      **text = without_secrets(**text);
    } else if (auto* const* list = std::get_if<std::vector<std::string>*>(&parameter.target)) {
      for (std::string& element : **list) element = without_secrets(element);
    }
  }
}

}  // namespace

Node::Node(std::string_view type, std::string_view description)
    : type_(type), description_(description) {}
Node::~Node() = default;

const std::string& Node::name() const { return runner_->name(); }
const Domain& Node::domain() const { return runner_->domain(); }
Executor& Node::executor() { return runner_->executor(); }
MetricsPage& Node::metrics() { return runner_->metrics(); }
msgs::LifecycleState Node::state() const { return runner_->state(); }
void Node::set_status(msgs::DiagnosticLevel level, std::string_view message) {
  runner_->set_status(level, message);
}
void Node::beat() { runner_->beat(); }
void Node::request_shutdown(int exit_code) {
  exit_code == kExitOk ? runner_->finish() : runner_->request_shutdown(exit_code);
}

int run_node(std::unique_ptr<Node> node, int argc, char** argv) {
  Executor::block_signals();
  try {
    ParameterSet parameters;
    node->declare_parameters(parameters);
    NodeOptions options;
    if (const auto exit_code = parse_command_line(*node, parameters, argc, argv, options))
      return *exit_code;
    if (options.dump_config) {
      hide_secrets(parameters);
      const std::string config = parameters.dump_yaml();
      return write_stdout(config) ? kExitOk : kExitFailure;
    }
    // Of every node, also of those that have no kernels: it is the environment of a whole pipeline.
    Result<> right = check_requested_instruction_set();
    if (right && options.check_params) right = parameters.check_files();
    if (right && options.check_params) right = node->check_parameters();
    if (options.check_params || !right) {
      if (!right) print_error("error: {}", one_line(without_secrets(right.error().message)));
      return right ? kExitOk : kExitUsage;
    }
    init_logging(options.name, options.log_level);
    return NodeRunner(std::move(node), std::move(parameters), std::move(options)).run();
  } catch (const std::exception& e) {
    log_error("{}", e.what());
    return kExitFailure;
  }
}

}  // namespace fovea
