// The `fovea` command: one front door to launching, looking at topics and nodes, and the engine
// tool.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <unistd.h>

#include "launch/install_paths.hpp"
#include "launch/language/suggest.hpp"
#include "launch/launch_main.hpp"
#include "launch/looking/report.hpp"
#include "launch/looking/snapshot.hpp"
#include "launch/looking/table.hpp"
#include "launch/looking/topic_commands.hpp"
#include "launch/supervision/control_client.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"

namespace {

using namespace fovea;
using namespace fovea::launch;

constexpr int kExitUsage = 2;

int refuse(std::string_view message) {
  print_error("fovea: {}", one_line(without_secrets(message)));
  return kExitUsage;
}

// Command lines of their own: `fovea NAME ...` becomes the executable beside this one.
struct Tool {
  const char* name;
  const char* executable;
  const char* description;
};
constexpr Tool kTools[] = {
    {"predict", "fovea-predict", "Show what a model finds in pictures (fovea predict --help)"},
    {"engine", "fovea-engine", "Build, inspect and measure engines (fovea engine --help)"},
    {"bag", "fovea-bag", "Record, play and look at recordings (fovea bag --help)"},
    {"bench", "fovea-bench", "Measure the pipeline on recorded video (fovea bench --help)"},
};

int become(const char* executable, char** argv) {
  const std::string tool = executable_directory() / executable;
  argv[1] = const_cast<char*>(tool.c_str());
  execv(tool.c_str(), argv + 1);
  return refuse(fmt::format("cannot run {}: {}", tool, std::strerror(errno)));
}

// The first word that CLI11 did not understand, out of "The following arguments were not expected:
// a b".
std::string unexpected_word(const CLI::ParseError& error) {
  const std::string text = error.what();
  const std::size_t colon = text.rfind(": ");
  if (error.get_name() != "ExtrasError" || colon == std::string::npos) return "";
  const std::size_t end = text.find(' ', colon + 2);
  return text.substr(colon + 2, end == std::string::npos ? end : end - colon - 2);
}

// CLI11 only says that a word was not expected; say which command or option was probably meant.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* innermost = &app;
  while (!innermost->get_subcommands().empty()) {
    innermost = innermost->get_subcommands().front();
  }
  const std::vector<std::string> extras = app.remaining(true);
  const std::string word = extras.empty() ? unexpected_word(error) : extras.front();
  if (word.empty()) return error.what();
  std::vector<std::string> known;
  const bool is_option = word.starts_with("-");
  if (is_option) {
    for (const CLI::Option* option : innermost->get_options()) {
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    }
  } else {
    for (const CLI::App* command :
         innermost->get_subcommands([](const CLI::App*) { return true; })) {
      known.push_back(command->get_name());
    }
  }
  const std::string_view what = is_option ? "option" : known.empty() ? "argument" : "command";
  return fmt::format("unknown {} `{}`{}", what, said(word), did_you_mean(word, known));
}

Result<std::map<std::string, std::string>> parse_arguments(const std::vector<std::string>& words) {
  std::map<std::string, std::string> arguments;
  for (const std::string& word : words) {
    const std::size_t separator = word.find(":=");
    if (separator == std::string::npos || separator == 0) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("`{}` is no launch argument; write name:=value", said(word)));
    }
    if (!arguments.emplace(word.substr(0, separator), word.substr(separator + 2)).second) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("argument `{}` is given twice", said(word.substr(0, separator))));
    }
  }
  return arguments;
}

// Everything the command line may say.
struct CommandLine {
  LaunchOptions launch;
  std::vector<std::string> launch_arguments;
  std::string domain;
  std::string topic;
  std::string node_file;           // node add
  std::vector<std::string> nodes;  // node remove
  std::string node, parameter, value;
  std::uint64_t count = 0;
  bool once = false;
  bool show_types = false;
  bool json = false;
};

void add_launch_command(CLI::App& app, CommandLine& line) {
  CLI::App* launch =
      app.add_subcommand("launch", "Run the nodes of a launch file and watch over them");
  LaunchOptions& options = line.launch;
  launch->add_option("file", options.file, "Launch file, or the name of a shipped one")->required();
  launch->add_option("arguments", line.launch_arguments,
                     "Arguments of the launch file, name:=value");
  launch->add_option("--domain", options.domain,
                     "Run beside other launches ($FOVEA_DOMAIN, else default)");
  launch
      ->add_option("--duration", options.duration_s,
                   "Stop so many seconds after all nodes are active")
      ->check(CLI::Range(0.001, 1e9));
  launch->add_option("--json", options.json_file,
                     "Write the final figures to this file; - = stdout");
  launch->add_flag("--quiet", options.quiet, "No table and no summary, only logs");
  launch->add_flag("-p,--print,--dry-run", options.print_only,
                   "Show what would run, start nothing");
  launch->add_flag("-s,--show-args", options.show_arguments,
                   "Show the arguments of the launch file");
}

void add_topic_command(CLI::App& app, CommandLine& line) {
  CLI::App* topic = app.add_subcommand("topic", "Look at topics")->require_subcommand(1);
  const auto add = [&](const char* name, const char* description) {
    CLI::App* command = topic->add_subcommand(name, description);
    command->add_option("--domain", line.domain, "Domain to look into");
    return command;
  };
  CLI::App* list = add("list", "Topics of the domain and whether anyone publishes them");
  list->add_flag("-t,--show-types", line.show_types, "Wait for a message of each to tell its type");
  list->add_flag("--json", line.json, "As JSON");
  CLI::App* echo = add("echo", "Messages of a topic, one line of JSON each");
  echo->add_option("topic", line.topic)->required();
  echo->add_option("--count", line.count, "Stop after so many messages")
      ->check(CLI::PositiveNumber);
  echo->add_flag("--once", line.once, "Stop after one message");
  CLI::App* hz = add("hz", "Rate of a topic, once a second");
  hz->add_option("topic", line.topic)->required();
  hz->add_option("--count", line.count, "Stop after so many messages and show their rate")
      ->check(CLI::PositiveNumber);
}

void add_node_command(CLI::App& app, CommandLine& line) {
  CLI::App* node =
      app.add_subcommand("node", "Look at nodes, add and remove them")->require_subcommand(1);
  CLI::App* list = node->add_subcommand("list", "Nodes of the domain and their state");
  list->add_option("--domain", line.domain, "Domain to look into");
  list->add_flag("--json", line.json, "As JSON");
  CLI::App* add = node->add_subcommand(
      "add",
      "Add a node to the launch that runs in the domain. Checked as a launch file is; "
      "returns when it is accepted, not when the node is active");
  add->add_option("file", line.node_file,
                  "One `- node:` entry of the launch language, YAML or JSON; - = stdin")
      ->required();
  add->add_option("--domain", line.domain, "Domain of the launch");
  CLI::App* remove = node->add_subcommand(
      "remove",
      "Stop nodes of the launch that runs in the domain and forget them; what others "
      "depend on is removed with these only");
  remove->add_option("nodes", line.nodes, "Their names")->required();
  remove->add_option("--domain", line.domain, "Domain of the launch");
}

void add_param_command(CLI::App& app, CommandLine& line) {
  CLI::App* param = app.add_subcommand("param", "Change parameters")->require_subcommand(1);
  CLI::App* set = param->add_subcommand(
      "set",
      "Check a parameter of a running node and restart the node with it; a value that "
      "begins with - stands behind --");
  set->add_option("node", line.node, "Name of the node")->required();
  set->add_option("parameter", line.parameter, "Name of the parameter")->required();
  set->add_option("value", line.value, "Its new value")->required();
  set->add_option("--domain", line.domain, "Domain of the launch");
}

int list_nodes(const Domain& domain, bool json) {
  const Snapshot snapshot = take_snapshot(domain, false);
  if (json) {
    print_out("{}", nodes_json(snapshot.nodes));
    return 0;
  }
  for (const std::string& text : node_table(snapshot.nodes)) print_out("{}\n", text);
  return 0;
}

int run(const CLI::App& app, CommandLine& line) {
  if (app.got_subcommand("launch")) {
    auto arguments = parse_arguments(line.launch_arguments);
    if (!arguments) return refuse(arguments.error().message);
    line.launch.arguments = std::move(*arguments);
    return run_launch(line.launch);
  }
  const auto domain = Domain::open(line.domain);
  if (!domain) return refuse(domain.error().message);
  if (app.got_subcommand("param")) return param_set(*domain, line.node, line.parameter, line.value);
  if (app.got_subcommand("node")) {
    const CLI::App* node = app.get_subcommand("node");
    if (node->got_subcommand("add")) return node_add(*domain, line.node_file);
    if (node->got_subcommand("remove")) return node_remove(*domain, line.nodes);
    return list_nodes(*domain, line.json);
  }
  const CLI::App* topic = app.get_subcommand("topic");
  if (topic->got_subcommand("list")) return topic_list(*domain, line.show_types, line.json);
  const std::uint64_t count = line.once ? 1 : line.count;
  return topic->got_subcommand("echo") ? topic_echo(*domain, line.topic, count)
                                       : topic_hz(*domain, line.topic, count);
}

}  // namespace

int main(int argc, char** argv) {
  fovea::prepare_process();
  for (const Tool& tool : kTools) {
    if (argc > 1 && std::strcmp(argv[1], tool.name) == 0) return become(tool.executable, argv);
  }
  const std::vector<std::string> words = fovea::take_arguments(argc, argv);
  std::vector<const char*> argv_of_words;
  for (const std::string& word : words) argv_of_words.push_back(word.c_str());
  CLI::App app("Perception nodes for robots: capture, preprocess, detect, postprocess", "fovea");
  app.set_version_flag("--version", "fovea " FOVEA_VERSION);
  app.require_subcommand(1);
  CommandLine line;
  add_launch_command(app, line);
  add_topic_command(app, line);
  add_node_command(app, line);
  add_param_command(app, line);
  for (const Tool& tool : kTools) app.add_subcommand(tool.name, tool.description);
  try {
    app.parse(static_cast<int>(argv_of_words.size()), argv_of_words.data());
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream text;
    const int code = app.exit(success, text, text);
    return write_stdout(text.str()) ? code : 1;
  } catch (const CLI::ParseError& error) {
    return refuse(explain(app, error) + "; see fovea --help");
  }
  try {
    return exit_code_of_tool("fovea", run(app, line));
  } catch (const std::exception& error) {  // no descriptor, no memory
    print_error("fovea: {}", error.what());
    return 1;
  }
}
