// Parameters as text for people and tools: --help lines, --dump-config, JSON.
#include <algorithm>
#include <cctype>
#include <limits>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "nodes/base/text.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea {
namespace {

// Plain where YAML reads it back as the same text, else double-quoted.
std::string yaml_text(std::string_view text) {
  const auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '/' ||
           c == '-';
  };
  const bool starts_well =
      !text.empty() && (std::isalnum(static_cast<unsigned char>(text[0])) != 0 || text[0] == '/');
  const bool is_null = text == "null" || text == "Null" || text == "NULL";
  if (starts_well && !is_null && std::all_of(text.begin(), text.end(), is_plain))
    return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

struct ValueText {
  const Parameter& parameter;
  std::string operator()(const std::chrono::nanoseconds* /*value*/) const {
    return fmt::format("{}", duration_count(parameter));
  }
  std::string operator()(const Choice& choice) const {
    return yaml_text(choice.words[choice.get()]);
  }
  std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
  std::string operator()(const ParameterInteger auto* value) const {
    return fmt::format("{}", *value);
  }
  std::string operator()(const double* value) const { return fmt::format("{}", *value); }
  std::string operator()(const std::string* value) const { return yaml_text(*value); }
  std::string operator()(const std::vector<std::string>* value) const {
    std::vector<std::string> elements;
    for (const std::string& element : *value) elements.push_back(yaml_text(element));
    return fmt::format("[{}]", fmt::join(elements, ", "));
  }
  std::string operator()(const std::map<std::string, double>* value) const {
    std::vector<std::string> pairs;
    for (const auto& [key, number] : *value)
      pairs.push_back(fmt::format("{}: {}", yaml_text(key), number));
    return fmt::format("{{{}}}", fmt::join(pairs, ", "));
  }
};

std::string value_text(const Parameter& parameter) {
  return std::visit(ValueText{parameter}, parameter.target);
}

const auto& told(const auto& value) { return value; }
std::string told(const std::string& text) { return without_secrets(text); }
std::vector<std::string> told(std::vector<std::string> texts) {
  for (std::string& text : texts) text = without_secrets(text);
  return texts;
}

// `1..64 frames`, `one of fp32, int8`, `ms`, or nothing.
std::string limits_text(const Parameter& parameter) {
  if (!parameter.choices.empty())
    return fmt::format("one of {}", fmt::join(parameter.choices, ", "));
  std::string text = to_string(parameter.range);
  if (!text.empty() && !parameter.unit.empty()) text += ' ';
  return text + parameter.unit;
}

}  // namespace

std::string to_string(const Range& range) {
  const bool has_min = range.min > -std::numeric_limits<double>::infinity();
  const bool has_max = range.max < std::numeric_limits<double>::infinity();
  if (has_min && has_max) return fmt::format("{}..{}", range.min, range.max);
  if (has_min) return fmt::format("at least {}", range.min);
  if (has_max) return fmt::format("at most {}", range.max);
  return "";
}

std::string describe(const Parameter& parameter) {
  const std::string limits = limits_text(parameter);
  const std::string rest = parameter.is_required ? "required" : "default " + value_text(parameter);
  return fmt::format("{} ({}{}{})", parameter.description, limits, limits.empty() ? "" : ", ",
                     rest);
}

std::string ParameterSet::dump_yaml() const {
  std::string out;
  for (const Parameter& parameter : parameters_) {
    const std::string limits = limits_text(parameter);
    if (!out.empty()) out += '\n';
    out += fmt::format("# {}{}{}{}\n", parameter.description, limits.empty() ? "" : " (", limits,
                       limits.empty() ? "" : ")");
    out += fmt::format("{}: {}\n", parameter.name, value_text(parameter));
  }
  return out;
}

std::string ParameterSet::to_json() const {
  auto object = nlohmann::ordered_json::object();
  for (const Parameter& parameter : parameters_) {
    auto& member = object[parameter.name];
    if (std::holds_alternative<std::chrono::nanoseconds*>(parameter.target)) {
      member = duration_count(parameter);
    } else if (const auto* choice = std::get_if<Choice>(&parameter.target)) {
      member = choice->words[choice->get()];
    } else {
      std::visit(
          [&]<class Target>(const Target& target) {
            if constexpr (std::is_pointer_v<Target> &&
                          !std::is_same_v<Target, std::chrono::nanoseconds*>) {
              member = told(*target);
            }
          },
          parameter.target);
    }
  }
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace fovea
