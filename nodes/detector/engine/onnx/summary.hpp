// What an ONNX file holds, without building it: what a person wants to see first of a model.
//
// Strings stand as in the file, which may come from anywhere: pass them through shown() (nodes/base/text.hpp).
// Thread safety: pure functions. Cost: reads the model file once; external data are only looked at
// for their size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::engine {

// An input or output of the graph.
struct OnnxTensorSummary {
  std::string name;
  std::string type;               // "float32", "uint8", ...; "sequence" and the like
  std::vector<std::string> dims;  // "640", a symbol's name such as "batch", "?" for an unnamed one
  bool has_shape = false;         // false: the file says nothing about its axes
};

struct OnnxOpset {
  std::string domain;  // "ai.onnx", "com.microsoft", ...
  std::int64_t version = 0;
};

struct OnnxOperatorCount {
  std::string op;  // with its domain unless that is ONNX's: "com.microsoft.FusedConv"
  std::size_t nodes = 0;
};

// A file beside the model that holds some of its weights.
struct OnnxExternalFile {
  std::string location;  // as the model names it
  std::size_t tensors = 0;
  std::optional<std::uint64_t>
      bytes;  // of the whole file; absent if there is none that may be read
};

// A node that no provider runs.
struct OnnxRefusedNode {
  std::string name;  // its first output's if it has none
  std::string op;
  std::string reason;
};

struct OnnxSummary {
  std::int64_t ir_version = 0;
  std::vector<OnnxOpset> opsets;
  std::string producer_name;
  std::string producer_version;
  std::string graph_name;
  std::vector<OnnxTensorSummary> inputs;  // without the initialisers that old files list here
  std::vector<OnnxTensorSummary> outputs;
  std::map<std::string, std::string> metadata;
  std::size_t nodes = 0;
  std::vector<OnnxOperatorCount> operators;  // most nodes first, then by name
  // Of all initialisers and Constant nodes, as the file types them: an s8 weight is one byte.
  std::uint64_t parameters = 0;
  std::uint64_t parameter_bytes = 0;
  std::vector<OnnxExternalFile> external_files;
  std::string refusal;  // of the model as a whole: its opset; empty if there is none
  std::vector<OnnxRefusedNode> refused;
};

// Errors: as parse_onnx() for a file that is absent, no regular file or no ONNX model. Whatever else
// is wrong with it shows in the summary.
Result<OnnxSummary> summarize_onnx(const std::filesystem::path& file);

// The same from memory; external data are looked for below `base_dir`, or nowhere if it is empty.
Result<OnnxSummary> summarize_onnx(std::span<const std::byte> bytes,
                                   const std::filesystem::path& base_dir);

}  // namespace fovea::engine
