// From an ONNX file to a NetworkDefinition. The only place that knows ONNX or protobuf.
//
// Reads what Ultralytics exports (YOLOv5, v8, v11; opset 12 to 22; static or dynamic batch and
// size): f32, f16 and integer initialisers in every encoding, external data beside the model,
// metadata_props. Differences between opsets end here: attributes that became inputs are made
// inputs, f16 and f64 become f32, integers become i64 and Constant nodes become constants.
//
// Any bytes are safe. Errors name the file: kNotFound, kCorrupt (no ONNX model, or one that
// contradicts itself) and kUnsupported, which lists every node that is not supported, with the
// reason.
#pragma once

#include <filesystem>
#include <span>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

inline constexpr std::int64_t kMinOpset = 12;
inline constexpr std::int64_t kMaxOpset = 22;

// Input extents may be -1; other values have no dims before infer_shapes(). Files are 2 GB at most.
Result<NetworkDefinition> parse_onnx(const std::filesystem::path& file);

// The same from memory. External data are looked up below `base_dir`; an empty one refuses them.
Result<NetworkDefinition> parse_onnx(std::span<const std::byte> bytes,
                                     const std::filesystem::path& base_dir);

// The class names in Ultralytics' metadata: a Python dictionary or list of strings, `{0: 'person',
// 1: "driver's cab"}`. Empty if `text` is neither, or if keys are missing or repeated.
std::vector<std::string> parse_class_names(std::string_view text);

// The integers in `text` of the form `32`, `[640, 640]` or `(640, 640)`; empty if it is none.
std::vector<std::int64_t> parse_int_list(std::string_view text);

}  // namespace fovea::engine
