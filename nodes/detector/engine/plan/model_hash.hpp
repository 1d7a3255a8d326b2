// The identity of a model: a hash over every byte that it consists of.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::engine {

// SHA-256, hex, over the ONNX file and the files with external weights that it names, in the order
// of their first mention. Costs one read of the files; the model is not parsed. Errors: kNotFound.
Result<std::string> hash_model(const std::filesystem::path& file);

// Relative paths of external data that ONNX bytes name, each once. Any bytes are safe: what is not
// well-formed is skipped (the parser reports it).
std::vector<std::string> external_data_files(std::span<const std::byte> bytes);

}  // namespace fovea::engine
