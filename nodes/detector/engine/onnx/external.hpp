// Tensors that an ONNX model keeps in files beside it. Knows no protobuf.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::engine {

struct ExternalData {
  std::string location;  // relative to the model's folder
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;  // to the end of the file if absent
};

// From the key-value pairs of a tensor. Errors: kCorrupt for numbers that are none.
Result<ExternalData> parse_external_data(const std::map<std::string, std::string>& entries);

// The file that `location` names. Nothing outside `base_dir` is looked at, links followed, and it is
// a regular file. Errors: kUnsupported if base_dir is empty, kNotFound, kCorrupt for a location
// outside.
Result<std::filesystem::path> find_external_data(const std::string& location,
                                                 const std::filesystem::path& base_dir);

// The bytes, at most `most`. Errors: those of find_external_data(), kCorrupt for a range outside.
Result<std::vector<std::byte>> read_external_data(const ExternalData& data,
                                                  const std::filesystem::path& base_dir,
                                                  std::size_t most);

}  // namespace fovea::engine
