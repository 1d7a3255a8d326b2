// The Python and JSON literals that exporters store as strings in metadata_props. Knows no protobuf.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::engine {

// Class names by class number.
struct ClassNames {
  std::vector<std::string> names;  // empty if nothing could be read
  std::string problem;             // what is wrong with the text, a sentence; empty if nothing is
};

// The class names in a model's metadata: a dictionary or list as Python or JSON write it, `{0:
// 'person', 1: "driver's cab"}`, `{"0": "person"}`, `["person", 7]`, also from name to number. Names
// may be numbers or bare words. A number without a name is called class_<number>, and that is a
// problem.
ClassNames read_class_names(std::string_view text);
std::vector<std::string> parse_class_names(std::string_view text);  // the names alone

// The integers in `text` of the form `32`, `[640, 640]` or `(640, 640)`; empty if it is none.
std::vector<std::int64_t> parse_int_list(std::string_view text);

}  // namespace fovea::engine
