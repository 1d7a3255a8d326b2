// A model of any operators, given the bindings of an engine without looking at what is between them:
// for providers that read ONNX themselves.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nodes/base/input_spec.hpp"
#include "nodes/base/result.hpp"

namespace fovea::engine {

struct AdaptedModel {
  // The model with input kWrittenInput u8 [1, height, width, 3] RGB, outputs written_output(i), f32
  // where the model had another float, and external data inside.
  std::vector<std::byte> bytes;
  std::string input;                 // what the model itself calls them
  std::vector<std::string> outputs;  // unique
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::string producer;
  std::int64_t opset = 0;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> class_names;  // of the metadata
  InputSpec picture;
  std::vector<std::string> warnings;
};

struct AdapterOptions {
  std::int32_t height = 0;  // for a model that leaves it open; 0 = metadata "imgsz", else 640
  std::int32_t width = 0;
  InputChoice picture = {};  // what the user says of it
  std::map<std::string, std::string> metadata = {};  // and in place of the model's metadata
};

// Errors: read_model_file()'s; kCorrupt for no ONNX model; kUnsupported for one whose input is no
// picture; kInvalidArgument for another size than a fixed model's. All name the file.
Result<AdaptedModel> adapt_onnx(const std::filesystem::path& file, const AdapterOptions& options);

}  // namespace fovea::engine
