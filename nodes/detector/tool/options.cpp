#include "nodes/detector/tool/options.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "nodes/detector/tool/engine_cli.hpp"

namespace fovea::engine_cli {

bool Option::given() const { return option_->count() > 0; }

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::shows_default() {
  option_->capture_default_str();
  return *this;
}

Option& Option::separated_by(char character) {
  option_->delimiter(character);
  return *this;
}

template <class T>
Option& Option::range(T least, T most) {
  option_->check(CLI::Range(least, most));
  return *this;
}
template Option& Option::range(int, int);
template Option& Option::range(double, double);
template Option& Option::range(std::size_t, std::size_t);

Option& Option::or_alone(const std::string& value) {
  option_->expected(0, 1)->default_str(value);
  return *this;
}

Option& Option::value_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}

Option& Option::byte_size(const std::string& shown_default) {
  option_->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))->default_str(shown_default);
  return *this;
}

template <class T>
Option add_option(CLI::App& app, const std::string& name, T& target, const std::string& help) {
  return Option(app.add_option(name, target, help));
}
template Option add_option(CLI::App&, const std::string&, std::string&, const std::string&);
template Option add_option(CLI::App&, const std::string&, int&, const std::string&);
template Option add_option(CLI::App&, const std::string&, double&, const std::string&);
template Option add_option(CLI::App&, const std::string&, std::int64_t&, const std::string&);
template Option add_option(CLI::App&, const std::string&, std::size_t&, const std::string&);
template Option add_option(CLI::App&, const std::string&, std::vector<std::string>&,
                           const std::string&);
template Option add_option(CLI::App&, const std::string&, std::vector<double>&,
                           const std::string&);
template Option add_option(CLI::App&, const std::string&, std::vector<std::size_t>&,
                           const std::string&);

Option add_flag(CLI::App& app, const std::string& name, bool& target, const std::string& help) {
  return Option(app.add_flag(name, target, help));
}

int run_command_line(const std::string& description, std::span<const Subcommand> subcommands,
                     int argc, char** argv, int (*run)(const Command& command)) {
  CLI::App app(description, "fovea engine");
  app.require_subcommand(1);
  app.set_version_flag("--version", FOVEA_VERSION);
  std::vector<std::pair<CLI::App*, Command>> commands;
  for (const Subcommand& subcommand : subcommands) {
    CLI::App* sub = app.add_subcommand(subcommand.name, subcommand.description);
    commands.emplace_back(sub, subcommand.declare(*sub));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  for (const auto& [sub, command] : commands) {
    if (sub->parsed()) return run(command);
  }
  return kExitUsage;
}

}  // namespace fovea::engine_cli
