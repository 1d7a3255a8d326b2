#include "nodes/detector/tool/options.hpp"

#include <cstddef>
#include <vector>

#include <CLI/CLI.hpp>

namespace fovea::engine_cli {

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

}  // namespace fovea::engine_cli
