// Parameters: one declaration gives the default, the YAML key, the range check, `--help` and
// `--dump-config`.
//
//   void declare(ParameterSet& p) {
//     p.add("max_batch", &max_batch, "Most frames in one inference", Range{1, 64}, "frames");
//     p.add("uri", &uri, "Where frames come from").required();
//   }
//
// Precedence, lowest first: default, `--params-file FILE` (YAML, strict), `-p name:=value`, `--name value`.
// Thread safety: set up before threads start; variables are plain members of the node.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nodes/runtime/result.hpp"

namespace fovea {

struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

// What a parameter may point to.
using ParameterTarget =
    std::variant<bool*, std::int64_t*, double*, std::string*, std::vector<std::string>*,
                 std::map<std::string, double>*>;

struct Parameter {
  std::string name;         // snake_case; `--snake-case` on the command line
  ParameterTarget target;
  std::string description;  // one sentence for --help and --dump-config
  Range range;              // numbers only
  std::string unit;         // "ms", "frames"; empty if none
  std::vector<std::string> choices;  // strings only; empty = any
  bool is_required = false;

  Parameter& required() { is_required = true; return *this; }
  Parameter& one_of(std::vector<std::string> allowed) { choices = std::move(allowed); return *this; }
};

class ParameterSet {
 public:
  // The variable's present value is the default. The reference stays valid until the next add().
  Parameter& add(std::string_view name, ParameterTarget target, std::string_view description,
                 Range range = {}, std::string_view unit = "");

  // Strict: an unknown key (with the nearest valid one), a wrong type or a value out of range is an error
  // that carries file, line, value and what would be valid. All or nothing per call.
  Result<> load_yaml(const std::string& path);
  Result<> load_yaml_text(std::string_view text, const std::string& origin);
  // One `name`, `value` pair as text; `origin` leads the error ("--max-batch", "-p").
  Result<> set(std::string_view name, std::string_view value, std::string_view origin);
  // Required ones are set, everything in range.
  Result<> check() const;

  // YAML with each description as a comment; load_yaml() of it gives the same values.
  std::string dump_yaml() const;
  std::string to_json() const;
  const std::vector<Parameter>& all() const { return parameters_; }

 private:
  std::vector<Parameter> parameters_;
  std::vector<std::string> assigned_;
};

// The candidate that `name` most likely meant (edit distance), or empty if none is near.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace fovea
