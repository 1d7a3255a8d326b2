// From an ONNX file to a NetworkDefinition. Only this folder knows ONNX or
// protobuf, and only its .cpp files.
//
// Reads what Ultralytics exports (YOLOv5, v8, v11; opset 8 to 26; static or dynamic batch and
// size): f32, f16 and integer initialisers in every encoding, external data beside the model,
// metadata_props. Differences between opsets end here: attributes that became inputs are made
// inputs, f16 and f64 become f32, integers become i64 and Constant nodes become constants.
//
// Any bytes are safe. Errors name the file: kNotFound, kCorrupt (no ONNX model, or one that
// contradicts itself) and kUnsupported, which names what is not supported, by operator, with the
// reason.
#pragma once

#include <filesystem>
#include <span>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

inline constexpr std::int64_t kMinOpset = 8;
inline constexpr std::int64_t kMaxOpset = 26;

// Input extents may be -1; other values have no dims before infer_shapes(). Files are 2 GB at most.
Result<NetworkDefinition> parse_onnx(const std::filesystem::path& file);

// The same from memory. External data are looked up below `base_dir`; an empty one refuses them.
Result<NetworkDefinition> parse_onnx(std::span<const std::byte> bytes,
                                     const std::filesystem::path& base_dir);

}  // namespace fovea::engine
