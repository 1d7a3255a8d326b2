// Declaring the options of a subcommand. CLI11 costs seconds in every file that includes it, so only
// options.cpp and what handles whole command lines do.
#pragma once

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

  Option& required();
  Option& shows_default();
  Option& separated_by(char character);
  // Inclusive; each element of a list. T is what the option's variable holds.
  template <class T>
  Option& range(T least, T most);
  // Without a value it means this one.
  Option& or_alone(const std::string& value);
  // A number of bytes with a unit, 1 kB being 1000.
  Option& byte_size(const std::string& shown_default);

 private:
  CLI::Option* option_;
};

// `target` keeps its value unless the option is given; it outlives the parsing. T is std::string,
// int, double, std::size_t or a vector of std::string, double or std::size_t.
template <class T>
Option add_option(CLI::App& app, const std::string& name, T& target, const std::string& help);
Option add_flag(CLI::App& app, const std::string& name, bool& target, const std::string& help);

}  // namespace fovea::engine_cli
