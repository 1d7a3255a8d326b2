#include "nodes/runtime/process/node_options.hpp"

#include <cstdio>
#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/core.h>

#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/process/node.hpp"
#include "nodes/runtime/process/parameter_stream.hpp"

namespace fovea {
namespace {

constexpr const char* kParameterGroup = "Parameters";
constexpr const char* kCommonGroup = "Options of every node";

struct TypeName {
  const char* operator()(bool*) const { return "[true|false]"; }
  const char* operator()(ParameterInteger auto*) const { return "N"; }
  const char* operator()(double*) const { return "X"; }
  const char* operator()(std::string*) const { return "TEXT"; }
  const char* operator()(std::chrono::nanoseconds*) const { return "X"; }
  const char* operator()(const Choice&) const { return "TEXT"; }
  const char* operator()(std::vector<std::string>*) const { return "A,B,.."; }
  const char* operator()(std::map<std::string, double>*) const { return "KEY=X,.."; }
};

struct Line {
  std::vector<std::string> params_files;
  int params_fd = -1;
  std::vector<std::string> assignments;  // name:=value
  std::vector<std::pair<const Parameter*, CLI::Option*>> parameters;
};

Result<> apply_assignment(ParameterSet& parameters, const std::string& assignment) {
  const std::size_t split = assignment.find(":=");
  if (split == std::string::npos) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("-p is '{}'; it must be name:=value", said(assignment)));
  }
  return parameters.set(assignment.substr(0, split), assignment.substr(split + 2), "-p");
}

Result<> apply(const Line& line, ParameterSet& parameters) {
  for (const std::string& file : line.params_files) FOVEA_TRY(parameters.load_yaml(file));
  if (line.params_fd >= 0) {
    const FileHandle file(line.params_fd);  // closed when it has been read
    FOVEA_ASSIGN(const auto assignments, read_assignments(file.get()));
    for (const ParameterAssignment& given : assignments)
      FOVEA_TRY(parameters.set(given.name, given.value, given.where));
  }
  for (const std::string& assignment : line.assignments)
    FOVEA_TRY(apply_assignment(parameters, assignment));
  for (const auto& [parameter, option] : line.parameters) {
    if (option->count() == 0) continue;
    const bool is_flag = std::holds_alternative<bool*>(parameter->target);
    std::string value = option->results().empty() ? "" : option->results().back();
    if (is_flag && value.empty()) value = "true";
    FOVEA_TRY(parameters.set(parameter->name, value, option_name(*parameter)));
  }
  return {};
}

Result<> check_options(const NodeOptions& options) {
  FOVEA_TRY(check_name("--name", options.name));
  if (!options.domain.empty()) FOVEA_TRY(check_name("--domain", options.domain));
  if (options.control_fd >= 0 && fcntl(options.control_fd, F_GETFD) < 0) {
    return fail(ErrorCode::kInvalidArgument, "--control-fd is " +
                                                 std::to_string(options.control_fd) +
                                                 "; it must be an open descriptor");
  }
  return {};
}

int usage_error(std::string_view text) {
  print_error("error: {}", one_line(without_secrets(text)));
  return kExitUsage;
}

std::string unknown_argument(const CLI::App& app, const std::string& argument) {
  if (!argument.starts_with('-'))
    return fmt::format("unexpected argument '{}' (--help lists all options)", said(argument));
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) known.push_back(option->get_name());
  const std::string name = argument.substr(0, argument.find('='));
  const std::string near = nearest(name, known);
  const std::string hint = near.empty() ? "--help lists all" : "did you mean '" + near + "'?";
  return fmt::format("unknown option '{}'; {}", said(name), hint);
}

}  // namespace

std::optional<int> parse_command_line(const Node& node, ParameterSet& parameters, int argc,
                                      char** argv, NodeOptions& options) {
  // CLI11 reads the copies: the originals lose their passwords, which everybody may look at.
  const std::vector<std::string> copies = take_arguments(argc, argv);
  std::vector<const char*> words;
  for (const std::string& word : copies) words.push_back(word.c_str());
  CLI::App app(node.description(), "fovea-" + node.type());
  app.allow_extras();  // refused below, with the nearest option
  app.set_help_flag();
  app.get_formatter()->column_width(34);
  Line line;
  std::string log_level = "info";
  bool help = false, version = false, no_autostart = false;
  options.name = node.type();

  for (const Parameter& parameter : parameters.all()) {
    const auto keep_text = [](const CLI::results_t&) {
      return true;
    };  // converted by ParameterSet::set()
    CLI::Option* option = app.add_option(option_name(parameter), keep_text, describe(parameter))
                              ->type_name(std::visit(TypeName{}, parameter.target))
                              ->group(kParameterGroup);
    const bool is_flag = std::holds_alternative<bool*>(parameter.target);
    option->expected(is_flag ? 0 : 1, 1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    line.parameters.emplace_back(&parameter, option);
  }
  const std::map<std::string, LogLevel> levels{{"debug", LogLevel::kDebug},
                                               {"info", LogLevel::kInfo},
                                               {"warning", LogLevel::kWarning},
                                               {"error", LogLevel::kError}};
  app.add_option("--name", options.name,
                 "Name of this node, 1..31 of [a-z0-9_-] (default " + node.type() + ")")
      ->type_name("TEXT");
  app.add_option("--domain", options.domain,
                 "Deployment it belongs to (default: $FOVEA_DOMAIN, else 'default')")
      ->type_name("TEXT");
  app.add_option("--params-file", line.params_files,
                 "YAML file with parameters; may be repeated, later ones win")
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--params-fd", line.params_fd,
                 "Inherited descriptor with parameters, from a supervisor; wins over files")
      ->type_name("N");
  app.add_option("-p", line.assignments, "Set one parameter; wins over parameter files")
      ->type_name("NAME:=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--log-level", log_level,
                 "Least level shown: debug, info, warning, error (default info)")
      ->type_name("LEVEL");
  app.add_flag("--no-autostart", no_autostart,
               "Stay unconfigured until told by the control socket");
  app.add_flag("--dump-config", options.dump_config, "Print the parameters as YAML and exit");
  app.add_flag("--check-params", options.check_params,
               "Say whether the parameters are right and the files that they name are there, and "
               "exit; nothing is opened");
  app.add_option("--control-fd", options.control_fd,
                 "Stop in order when this descriptor reaches end-of-file (the supervisor died)")
      ->type_name("N");
  app.add_flag("--keep-metrics", options.keep_metrics,
               "Leave the metrics page behind for a supervisor to read");
  app.add_flag("--joins-late", options.joins_late,
               "The graph runs already: frames that were sent before this start are not due here");
  app.add_option("--restarts", options.restarts,
                 "How often a supervisor has restarted this node, for its metrics page")
      ->type_name("N");
  app.add_flag("--version", version, "Print the version and exit");
  app.add_flag("--help,-h", help, "Print this help and exit");
  for (CLI::Option* option :
       app.get_options([](const CLI::Option* o) { return o->get_group() == "Options"; })) {
    option->group(kCommonGroup);
  }

  try {
    app.parse(static_cast<int>(words.size()), words.data());
  } catch (const CLI::ParseError& e) {
    return usage_error(e.what());
  }
  if (help) {
    write_stdout(app.help());
    return kExitOk;
  }
  if (version) {
    print_out("fovea-{} {}\n", node.type(), FOVEA_VERSION);
    return kExitOk;
  }
  if (const auto extras = app.remaining(); !extras.empty())
    return usage_error(unknown_argument(app, extras[0]));
  const auto level = levels.find(log_level);
  if (level == levels.end()) {
    return usage_error(fmt::format(
        "--log-level is '{}'; it must be one of debug, info, warning, error", said(log_level)));
  }
  options.log_level = level->second;
  options.autostart = !no_autostart;
  Result<> result = check_options(options);
  if (result) result = apply(line, parameters);
  if (result && !options.dump_config) result = parameters.check();
  if (!result) return usage_error(result.error().message);
  return std::nullopt;
}

}  // namespace fovea
