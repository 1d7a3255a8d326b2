// ONNX's bytes as protobuf's message. Internal to this folder.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "nodes/base/result.hpp"

namespace onnx {
class ModelProto;
}

namespace fovea::engine {

// A whole model file. Errors: kNotFound; kInvalidArgument for what is no regular file (nobody waits
// for a FIFO's writer); kUnsupported for more than protobuf's 2 GB. All name the file.
Result<std::vector<std::byte>> read_model_file(const std::filesystem::path& file);

// Errors: kCorrupt for bytes that are no ONNX model.
Result<> decode_model(std::span<const std::byte> bytes, onnx::ModelProto& model);

// Where external data of `file` lie. A bare file name has no parent: its folder is the current one.
std::filesystem::path folder_of_model(const std::filesystem::path& file);

}  // namespace fovea::engine
