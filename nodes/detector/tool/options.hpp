// The command line of `fovea engine`: its subcommands and their options. CLI11 costs seconds in every file
// that includes it, so only options.cpp does.
#pragma once

#include <functional>
#include <span>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace fovea::engine_cli {

// An option of a CLI11 app, which owns it.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  bool given() const;  // once the line has been read

  Option& required();
  Option& shows_default();
  Option& separated_by(char character);
  // Inclusive; each element of a list. T is what the option's variable holds.
  template <class T>
  Option& range(T least, T most);
  // Without a value it means this one.
  Option& or_alone(const std::string& value);
  // What --help shows for its value.
  Option& value_name(const std::string& name);
  // A number of bytes with a unit, 1 kB being 1000.
  Option& byte_size(const std::string& shown_default);

 private:
  CLI::Option* option_;
};

// `target` keeps its value unless the option is given; it outlives the parsing. T is std::string,
// int, double, std::int64_t, std::size_t or a vector of std::string, double or std::size_t.
template <class T>
Option add_option(CLI::App& app, const std::string& name, T& target, const std::string& help);
Option add_flag(CLI::App& app, const std::string& name, bool& target, const std::string& help);

// Runs a subcommand and gives the exit code.
using Command = std::function<int()>;

struct Subcommand {
  const char* name;
  const char* description;
  Command (*declare)(CLI::App& app);  // its options; what it returns runs it
};

// Reads the line and gives the command that it asks for to `run`, whose exit code it returns: the options
// live until then. Its own exit code after --help, --version or a wrong line, of which it tells.
int run_command_line(const std::string& description, std::span<const Subcommand> subcommands,
                     int argc, char** argv, int (*run)(const Command& command));

}  // namespace fovea::engine_cli
