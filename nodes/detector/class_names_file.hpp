// A file of class names, for models that bring none.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea {

// By class number. One name a line; a YAML list (`- person`) or map (`0: person`), also below or
// behind `names:` as in the data.yaml of a training; or a list or map as JSON or Python write it. Blank
// lines count for nothing, nor does `#` with what follows in YAML. Errors: kNotFound; kInvalidArgument
// for what is none of these, names no class or leaves a number out, with the path and the line.
Result<std::vector<std::string>> read_class_names_file(const std::filesystem::path& file);

// Of its text. Errors: without the path.
Result<std::vector<std::string>> class_names_of_text(std::string_view text);

// As a model's metadata would have them: what engine::read_class_names() gives back.
std::string metadata_of(const std::vector<std::string>& names);

}  // namespace fovea
