// Parameters: one declaration gives the default, the YAML key, the range check, `--help` and
// `--dump-config`.
//
//   void declare(ParameterSet& p) {
//     p.add("max_batch", &max_batch, "Most frames in one inference", Range{1, 64}, "frames");
//     p.add("uri", &uri, "Where frames come from").required();
//     p.add("max_delay_ms", &max_delay, "How long a frame waits", Range{0, 1000}, "ms");
//     p.add("build", choice(&mode, {{"auto", Mode::kAuto}, {"wait", Mode::kWait}}), "What if ...");
//   }
//
// Precedence, lowest first: default, `--params-file FILE` (YAML, strict), `-p name:=value`, `--name
// value`. On the command line a list is `a,b` and a map `person=0.5,car=0.4`; both also take YAML
// (`[a, b]`). Thread safety: set up before threads start; variables are plain members of the node.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea {

// Inclusive.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
};

// `1..64`, `at least 0`, `at most 1`; empty for no limits.
std::string to_string(const Range& range);

// An enumeration that is written as one of some words.
struct Choice {
  std::vector<std::string> words;
  std::function<std::size_t()> get;  // the present value's place in `words`
  std::function<void(std::size_t)> set;
};

// REQUIRES: one word for each value that `target` may have.
template <class Enum>
Choice choice(Enum* target, std::vector<std::pair<std::string, Enum>> values) {
  Choice made;
  for (const auto& [word, value] : values) made.words.push_back(word);
  made.set = [target, values](std::size_t index) { *target = values[index].second; };
  made.get = [target, values = std::move(values)] {
    std::size_t index = 0;
    while (index + 1 < values.size() && values[index].second != *target) ++index;
    return index;
  };
  return made;
}

// What a parameter may point to: an integer of the type that its user takes, for one. A duration is
// written as a number of the parameter's unit.
using ParameterTarget =
    std::variant<bool*, std::uint8_t*, std::uint16_t*, std::int32_t*, std::uint32_t*, std::int64_t*,
                 std::uint64_t*, double*, std::string*, std::vector<std::string>*,
                 std::map<std::string, double>*, std::chrono::nanoseconds*, Choice>;

template <class T>
concept ParameterInteger = std::integral<T> && !std::same_as<T, bool>;

struct Parameter {
  std::string name;  // snake_case; `--kebab-case` on the command line
  ParameterTarget target;
  std::string description;           // one sentence for --help and --dump-config
  Range range;                       // numbers, and each value of a map
  std::string unit;                  // "ms", "frames"; empty if none. A duration's: s, ms or us
  std::vector<std::string> choices;  // strings, and each element of a list; empty = any
  std::function<Result<>(std::string_view)> check;  // of a text, beyond its choices
  bool is_required = false;
  bool is_distinct = false;  // no two elements of a list are equal
  enum class Names : std::uint8_t { kNothing, kFile, kFileOrFolder } names = Names::kNothing;
  std::function<Result<>(std::string_view)> look;  // for what a text names

  Parameter& required() {
    is_required = true;
    return *this;
  }
  // The text, unless it is empty, is the path of what must be there when the node starts.
  Parameter& names_file() {
    names = Names::kFile;
    return *this;
  }
  Parameter& names_file_or_folder() {
    names = Names::kFileOrFolder;
    return *this;
  }
  // The same for a text that is more than a path, such as an address: `look_for` says what is not
  // there.
  Parameter& names_what(std::function<Result<>(std::string_view)> look_for) {
    look = std::move(look_for);
    return *this;
  }
  // What else a text has to be, such as an address that can be read; opens nothing.
  Parameter& checked_by(std::function<Result<>(std::string_view)> check_text) {
    check = std::move(check_text);
    return *this;
  }
  Parameter& distinct() {
    is_distinct = true;
    return *this;
  }
  Parameter& one_of(std::vector<std::string> allowed) {
    choices = std::move(allowed);
    return *this;
  }
};

class ParameterSet {
 public:
  // The variable's present value is the default. The reference stays valid until the next add().
  // REQUIRES: names are snake_case and unique; a duration has a range and one of its units; an
  // integer has a range that its type holds, but for int64, which needs none.
  Parameter& add(std::string_view name, ParameterTarget target, std::string_view description,
                 Range range = {}, std::string_view unit = "");

  // Strict: an unknown key (with the nearest valid one), a wrong type, a value out of range, a key
  // given twice, anything but one map is an error that carries file, line, value and what would be
  // valid. The first one in the file is reported. All or nothing per call. An empty file sets
  // nothing. Errors: kNotFound for a missing file, else kInvalidArgument.
  Result<> load_yaml(const std::string& path);
  Result<> load_yaml_text(std::string_view text, const std::string& origin);
  // One `name`, `value` pair as text; `origin` leads the error ("--max-batch", "-p").
  Result<> set(std::string_view name, std::string_view value, std::string_view origin);
  // Required ones are set, everything in range.
  Result<> check() const;
  // The files and folders that parameters name, and what names_what() looks for, are there and can
  // be read; opens none. Errors: the first one's, with where its value was given.
  Result<> check_files() const;

  // YAML with each description as a comment; load_yaml() of it gives the same values, secrets of
  // addresses included. to_json() does not tell these.
  std::string dump_yaml() const;
  std::string to_json() const;  // one object, in order of declaration
  const std::vector<Parameter>& all() const { return parameters_; }

 private:
  std::vector<Parameter> parameters_;
  std::map<std::string, std::string, std::less<>> origins_;  // of those that were set
};

// A duration in its parameter's unit. REQUIRES: a parameter that points to one.
double duration_count(const Parameter& parameter);

// What --help says: `Most frames in one inference (1..64 frames, default 8)`.
std::string describe(const Parameter& parameter);

// `max_batch` -> `--max-batch`.
std::string option_name(const Parameter& parameter);

// The candidate that `name` most likely meant (edit distance), or empty if none is near.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace fovea
