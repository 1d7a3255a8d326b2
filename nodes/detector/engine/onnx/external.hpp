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

// The bytes, at most `most`. Nothing outside `base_dir` is read, links followed.
// Errors: kUnsupported if base_dir is empty, kNotFound, kCorrupt for a location or range outside.
Result<std::vector<std::byte>> read_external_data(const ExternalData& data,
                                                  const std::filesystem::path& base_dir,
                                                  std::size_t most);

}  // namespace fovea::engine
