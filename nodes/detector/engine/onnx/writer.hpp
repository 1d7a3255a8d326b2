// From a network to an ONNX file: what other engines need to run a lowered network.
//
// The model written is for one picture and has the bindings of every engine of the network
// (describe_engine): input kWrittenInput u8 [1, height, width, 3], outputs written_output(i), those
// of a DFL head channels last. What passes made has ONNX's spelling again: fused activations and
// sums are nodes, SiLU is Sigmoid and Mul.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

inline constexpr const char* kWrittenInput = "fovea_input";
std::string written_output(std::size_t index);

// Opset and version of the file format that are written: old enough for ONNX Runtime 1.17.
inline constexpr std::int64_t kWrittenOpset = 20;
inline constexpr std::int64_t kWrittenIrVersion = 9;

// REQUIRES: a network that lower() made, in f32. Errors: kUnsupported for what ONNX cannot say,
// naming the layer; infer_shapes()'s; kExhausted for more than protobuf's 2 GB.
Result<std::vector<std::byte>> write_onnx(const NetworkDefinition& lowered);

}  // namespace fovea::engine
