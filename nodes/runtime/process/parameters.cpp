// Declaring, checking and setting parameters. Text from every source (YAML, `-p`, options) passes
// through the same conversion, so one message fits all.
#include "nodes/runtime/process/parameters.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <sstream>
#include <type_traits>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include "nodes/base/check.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/process/yaml_text.hpp"

namespace fovea {
namespace {

using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>,
                           std::map<std::string, double>>;  // a duration's count, a choice's word
using std::chrono::nanoseconds;

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string with_range(std::string_view kind, const Range& range) {
  const std::string text = to_string(range);
  return text.empty() ? std::string(kind) : fmt::format("{}, {}", kind, text);
}

bool inside(const Range& range, double value) { return value >= range.min && value <= range.max; }

// Texts are read as int64, so that is what all integers fit into.
template <ParameterInteger T>
bool holds(const Range& range) {
  using Limits = std::numeric_limits<T>;
  return std::is_same_v<T, std::int64_t> || (range.min >= static_cast<double>(Limits::min()) &&
                                             range.max <= static_cast<double>(Limits::max()));
}

constexpr std::size_t kMaxName = 64;

// How many ns a duration's unit has; 0 for what is none.
double ns_of(std::string_view unit) {
  if (unit == "s") return 1e9;
  if (unit == "ms") return 1e6;
  return unit == "us" ? 1e3 : 0;
}

tl::unexpected<Error> bad_value(std::string_view origin, std::string_view name,
                                std::string_view value, std::string_view valid) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {} is {}; it must be {}", said(origin),
                                                       said(name, kMaxName), said(value), valid));
}

std::string quoted(std::string_view text) { return fmt::format("'{}'", said(text)); }

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Converts one piece of text to what `parameter` holds; `name` may be `map.key`.
class Converter {
 public:
  Converter(const Parameter& parameter, std::string_view origin, std::string_view name)
      : parameter_(parameter), origin_(origin), name_(name) {}

  Result<bool> boolean(std::string_view text) const {
    if (text == "true") return true;
    if (text == "false") return false;
    return bad_value(origin_, name_, quoted(text), "true or false");
  }

  Result<std::int64_t> integer(std::string_view text) const {
    const auto value = parse_number<std::int64_t>(text);
    if (!value)
      return bad_value(origin_, name_, quoted(text),
                       with_range("a whole number", parameter_.range));
    if (!inside(parameter_.range, static_cast<double>(*value))) {
      return bad_value(origin_, name_, text, to_string(parameter_.range));
    }
    return *value;
  }

  Result<double> number(std::string_view text) const {
    const auto value = parse_number<double>(text);
    if (!value || !std::isfinite(*value)) {
      return bad_value(origin_, name_, quoted(text), with_range("a number", parameter_.range));
    }
    if (!inside(parameter_.range, *value)) {
      return bad_value(origin_, name_, text, to_string(parameter_.range));
    }
    return *value;
  }

  Result<std::string> string(std::string_view text) const {
    const auto& choices = parameter_.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end()) {
      return bad_value(origin_, name_, quoted(text),
                       fmt::format("one of {}", fmt::join(choices, ", ")));
    }
    if (parameter_.check) {
      if (const auto checked = parameter_.check(text); !checked) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{}: {}: {}", said(origin_), said(name_, kMaxName),
                                said(checked.error().message, 400)));
      }
    }
    return std::string(text);
  }

  Result<Value> scalar(std::string_view text) const {
    const auto as_value = [](auto result) -> Result<Value> {
      if (!result) return fail(std::move(result).error());
      return Value(*std::move(result));
    };
    return std::visit(
        Overloaded{[&](bool*) { return as_value(boolean(text)); },
                   [&](ParameterInteger auto*) { return as_value(integer(text)); },
                   [&](double*) { return as_value(number(text)); },
                   [&](std::string*) { return as_value(string(text)); },
                   [&](nanoseconds*) { return as_value(number(text)); },
                   [&](const Choice&) { return as_value(string(text)); },
                   [&](std::vector<std::string>*) -> Result<Value> {
                     return bad_value(origin_, name_, quoted(text), "a list, such as [a, b]");
                   },
                   [&](std::map<std::string, double>*) -> Result<Value> {
                     return bad_value(origin_, name_, quoted(text), "a map, such as {person: 0.5}");
                   }},
        parameter_.target);
  }

 private:
  const Parameter& parameter_;
  std::string_view origin_;
  std::string_view name_;
};

const char* expected_kind(const ParameterTarget& target) {
  return std::visit(
      Overloaded{[](bool*) { return "true or false"; },
                 [](ParameterInteger auto*) { return "a whole number"; },
                 [](double*) { return "a number"; }, [](nanoseconds*) { return "a number"; },
                 [](std::string*) { return "a text"; }, [](const Choice&) { return "a text"; },
                 [](std::vector<std::string>*) { return "a list, such as [a, b]"; },
                 [](std::map<std::string, double>*) { return "a map, such as {person: 0.5}"; }},
      target);
}

const char* kind_of(const YAML::Node& node) {
  if (node.IsNull()) return "empty";
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a map";
  return "a text";
}

// What leads an error: `file:line` for files, only the name for an option's text.
struct Source {
  std::string name;
  bool has_lines = true;

  std::string at(const YAML::Node& node) const {
    const int line = node.Mark().line;
    return has_lines && line >= 0 ? fmt::format("{}:{}", name, line + 1) : name;
  }
};

// yaml-cpp marks quoted scalars with the tag "!": "8" in quotes is a text, not a number.
bool is_text_only(const YAML::Node& node) { return node.Tag() == "!"; }

Result<> check_scalar(const YAML::Node& node, const std::string& where, std::string_view name,
                      bool wants_text, std::string_view valid) {
  if (!node.IsScalar()) return bad_value(where, name, kind_of(node), valid);
  if (!wants_text && is_text_only(node)) {
    return bad_value(where, name, fmt::format("the text \"{}\"", said(node.Scalar())), valid);
  }
  return {};
}

Result<Value> convert_list(const Parameter& parameter, const YAML::Node& node,
                           const Source& source) {
  std::vector<std::string> list;
  for (const YAML::Node& element : node) {
    const std::string where = source.at(element);
    const std::string name = fmt::format("{}[{}]", parameter.name, list.size());
    FOVEA_TRY(check_scalar(element, where, name, true, "a text"));
    FOVEA_ASSIGN(std::string text, Converter(parameter, where, name).string(element.Scalar()));
    if (parameter.is_distinct && std::find(list.begin(), list.end(), text) != list.end()) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: {}: '{}' is given twice", said(where), parameter.name, said(text)));
    }
    list.push_back(std::move(text));
  }
  return Value(std::move(list));
}

Result<Value> convert_map(const Parameter& parameter, const YAML::Node& node,
                          const Source& source) {
  std::map<std::string, double> map;
  for (const auto& pair : node) {
    const std::string where = source.at(pair.first);
    FOVEA_TRY(check_scalar(pair.first, where, parameter.name + "'s key", true, "a text"));
    const std::string name = fmt::format("{}.{}", parameter.name, pair.first.Scalar());
    FOVEA_TRY(
        check_scalar(pair.second, where, name, false, with_range("a number", parameter.range)));
    FOVEA_ASSIGN(const double value,
                 Converter(parameter, where, name).number(pair.second.Scalar()));
    if (!map.emplace(pair.first.Scalar(), value).second) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {} is given twice", where, said(name)));
    }
  }
  return Value(std::move(map));
}

Result<Value> convert_node(const Parameter& parameter, const YAML::Node& node, const Source& source,
                           const std::string& where) {
  if (std::holds_alternative<std::vector<std::string>*>(parameter.target) && node.IsSequence()) {
    return convert_list(parameter, node, source);
  }
  if (std::holds_alternative<std::map<std::string, double>*>(parameter.target) && node.IsMap()) {
    return convert_map(parameter, node, source);
  }
  const bool wants_text = std::holds_alternative<std::string*>(parameter.target) ||
                          std::holds_alternative<Choice>(parameter.target);
  const std::string valid = with_range(expected_kind(parameter.target), parameter.range);
  FOVEA_TRY(check_scalar(node, where, parameter.name, wants_text, valid));
  return Converter(parameter, where, parameter.name).scalar(node.Scalar());
}

void assign(const Parameter& parameter, Value value) {
  std::visit(
      Overloaded{[&](nanoseconds* target) {
                   *target =
                       nanoseconds(std::llround(std::get<double>(value) * ns_of(parameter.unit)));
                 },
                 [&](const Choice& choice) {
                   const auto word = std::find(choice.words.begin(), choice.words.end(),
                                               std::get<std::string>(value));
                   choice.set(static_cast<std::size_t>(word - choice.words.begin()));
                 },
                 [&]<ParameterInteger T>(T* target) {  // in its range, and so in its type's
                   *target = static_cast<T>(std::get<std::int64_t>(value));
                 },
                 [&](auto* target) {
                   *target = std::get<std::remove_pointer_t<decltype(target)>>(std::move(value));
                 }},
      parameter.target);
}

std::vector<std::string> names_of(const std::vector<Parameter>& parameters) {
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters) names.push_back(parameter.name);
  return names;
}

tl::unexpected<Error> unknown_key(const std::string& where, std::string_view name,
                                  const std::vector<Parameter>& parameters) {
  const std::vector<std::string> names = names_of(parameters);
  const std::string near = nearest(name, names);
  std::string hint;
  if (!near.empty()) {
    hint = fmt::format("did you mean '{}'?", near);
  } else if (names.empty()) {
    hint = "there are no parameters";
  } else {
    hint = fmt::format("valid keys are {}", fmt::join(names, ", "));
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: unknown key '{}'; {}", said(where), said(name, kMaxName), hint));
}

// `a,b` and `person=0.5,car=0.4` as the YAML that they stand for.
YAML::Node node_from_text(const Parameter& parameter, std::string_view text) {
  const bool is_list = std::holds_alternative<std::vector<std::string>*>(parameter.target);
  if (text.starts_with(is_list ? '[' : '{')) return YAML::Load(std::string(text));
  YAML::Node node(is_list ? YAML::NodeType::Sequence : YAML::NodeType::Map);
  std::stringstream stream{std::string(text)};
  for (std::string part; std::getline(stream, part, ',');) {
    if (is_list) {
      node.push_back(part);
      continue;
    }
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos)
      return YAML::Node(std::string(text));  // refused as "not a map"
    node.force_insert(part.substr(0, equals), part.substr(equals + 1));
  }
  return node;
}

// REQUIRES: a value of `parameter`, not empty.
Result<> check_named(const Parameter& parameter, const std::string& path) {
  if (parameter.names == Parameter::Names::kNothing) return {};
  std::error_code error;
  if (parameter.names == Parameter::Names::kFileOrFolder &&
      std::filesystem::is_directory(path, error))
    return {};
  return check_readable(path);
}

}  // namespace

Parameter& ParameterSet::add(std::string_view name, ParameterTarget target,
                             std::string_view description, Range range, std::string_view unit) {
  FOVEA_CHECK(std::none_of(parameters_.begin(), parameters_.end(),
                           [&](const Parameter& parameter) { return parameter.name == name; }));
  Parameter parameter;
  parameter.name = name;
  parameter.target = target;
  parameter.description = description;
  parameter.range = range;
  parameter.unit = unit;
  if (std::holds_alternative<nanoseconds*>(target)) {
    constexpr double kMostNs = 9e18;  // what its type holds
    const double ns = ns_of(unit);
    FOVEA_CHECK(ns > 0 && range.min * ns >= -kMostNs && range.max * ns <= kMostNs);
  }
  std::visit(
      Overloaded{[&]<ParameterInteger T>(T*) { FOVEA_CHECK(holds<T>(range)); }, [](const auto&) {}},
      target);
  if (const auto* choice = std::get_if<Choice>(&target)) parameter.choices = choice->words;
  return parameters_.emplace_back(std::move(parameter));
}

Result<> ParameterSet::load_yaml(const std::string& path) {
  FOVEA_ASSIGN(const std::string text, read_text_file(path));
  return load_yaml_text(text, path);
}

Result<> ParameterSet::load_yaml_text(std::string_view text, const std::string& origin) {
  const Source source{origin};
  std::vector<int> documents;
  YAML::Node root;
  try {
    documents = yaml_document_lines(std::string(text));
    root = YAML::Load(std::string(text));
  } catch (const YAML::Exception& e) {
    return fail(ErrorCode::kInvalidArgument, yaml_error(text, origin, e.mark.line + 1, e.msg));
  }
  if (documents.empty()) return {};
  if (documents.size() > 1) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the file holds {} documents; it must hold one",
                            fmt::format("{}:{}", origin, documents[1]), documents.size()));
  }
  if (root.IsNull()) return {};
  if (!root.IsMap()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the file holds {}; it must be a map of parameters, `name: value`",
                            source.at(root), kind_of(root)));
  }
  std::vector<std::pair<const Parameter*, Value>> values;
  std::set<std::string> seen;
  for (const auto& pair : root) {
    const std::string where = source.at(pair.first);
    FOVEA_TRY(check_scalar(pair.first, where, "a key", true, "the name of a parameter"));
    const std::string& name = pair.first.Scalar();
    const auto parameter = std::find_if(parameters_.begin(), parameters_.end(),
                                        [&](const Parameter& p) { return p.name == name; });
    if (parameter == parameters_.end()) return unknown_key(where, name, parameters_);
    if (!seen.insert(name).second) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {} is given twice", where, name));
    }
    FOVEA_ASSIGN(Value value, convert_node(*parameter, pair.second, source, where));
    values.emplace_back(&*parameter, std::move(value));
  }
  for (auto& [parameter, value] : values) {
    assign(*parameter, std::move(value));
    origins_[parameter->name] = source.at(root[parameter->name]);
  }
  return {};
}

Result<> ParameterSet::set(std::string_view name, std::string_view value, std::string_view origin) {
  const auto parameter = std::find_if(parameters_.begin(), parameters_.end(),
                                      [&](const Parameter& p) { return p.name == name; });
  if (parameter == parameters_.end()) return unknown_key(std::string(origin), name, parameters_);
  const bool is_compound =
      std::holds_alternative<std::vector<std::string>*>(parameter->target) ||
      std::holds_alternative<std::map<std::string, double>*>(parameter->target);
  Result<Value> converted;
  if (is_compound) {
    YAML::Node node;
    try {
      node = node_from_text(*parameter, value);
    } catch (const YAML::Exception& e) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {}: bad YAML: {}", said(origin), name, said(e.msg)));
    }
    const Source source{std::string(origin), false};
    converted = convert_node(*parameter, node, source, source.name);
  } else {
    converted = Converter(*parameter, origin, name).scalar(value);
  }
  if (!converted) return fail(std::move(converted).error());
  assign(*parameter, *std::move(converted));
  origins_[std::string(name)] = origin;
  return {};
}

Result<> ParameterSet::check() const {
  for (const Parameter& parameter : parameters_) {
    if (parameter.is_required && !origins_.contains(parameter.name)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{} is required; give {} VALUE, -p {}:=VALUE or a --params-file with it",
                      parameter.name, option_name(parameter), parameter.name));
    }
    std::optional<double> value;
    std::visit(
        Overloaded{[&](ParameterInteger auto* integer) { value = static_cast<double>(*integer); },
                   [&](double* number) { value = *number; },
                   [&](nanoseconds*) { value = duration_count(parameter); }, [](const auto&) {}},
        parameter.target);
    if (value && !inside(parameter.range, *value)) {
      return bad_value("parameters", parameter.name, fmt::format("{}", *value),
                       to_string(parameter.range));
    }
  }
  return {};
}

Result<> ParameterSet::check_files() const {
  for (const Parameter& parameter : parameters_) {
    auto* const* text = std::get_if<std::string*>(&parameter.target);
    if (text == nullptr || (**text).empty()) continue;
    const auto there = parameter.look ? parameter.look(**text) : check_named(parameter, **text);
    if (there) continue;
    const auto origin = origins_.find(parameter.name);
    const std::string where = origin == origins_.end() ? "" : said(origin->second) + ": ";
    return fail(there.error().code,
                fmt::format("{}{}: {}", where, parameter.name, said(there.error().message, 400)));
  }
  return {};
}

double duration_count(const Parameter& parameter) {
  const nanoseconds value = *std::get<nanoseconds*>(parameter.target);
  return static_cast<double>(value.count()) / ns_of(parameter.unit);
}

std::string option_name(const Parameter& parameter) {
  std::string option = "--" + parameter.name;
  std::replace(option.begin(), option.end(), '_', '-');
  return option;
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  // Edits are insertions, deletions, replacements and swaps of neighbours (Damerau), the four ways
  // in which names are mistyped. Three rows of the usual table suffice.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::size_t> before, previous(b.size() + 1), row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
      before = std::exchange(previous, row);
      row[0] = i;
      for (std::size_t j = 1; j <= b.size(); ++j) {
        const std::size_t replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
        row[j] = std::min({previous[j] + 1, row[j - 1] + 1, replaced});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
          row[j] = std::min(row[j], before[j - 2] + 1);
        }
      }
    }
    return row.back();
  };
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    if (const std::size_t d = distance(name, candidate); d < best_distance) {
      best = candidate;
      best_distance = d;
    }
  }
  return best;
}

}  // namespace fovea
