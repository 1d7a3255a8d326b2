// The Python literals that Ultralytics stores as strings in metadata_props. Knows no protobuf.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::engine {

// The class names in Ultralytics' metadata: a Python dictionary or list of strings, `{0: 'person',
// 1: "driver's cab"}`. Empty if `text` is neither, or if keys are missing or repeated.
std::vector<std::string> parse_class_names(std::string_view text);

// The integers in `text` of the form `32`, `[640, 640]` or `(640, 640)`; empty if it is none.
std::vector<std::int64_t> parse_int_list(std::string_view text);

}  // namespace fovea::engine
