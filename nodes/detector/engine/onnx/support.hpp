// Which nodes of an ONNX graph can be taken, and why the others cannot. Internal to this folder.
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>

#include "nodes/base/result.hpp"

namespace onnx {
class ModelProto;
class NodeProto;
}  // namespace onnx

namespace fovea::engine {

// A node's name as the file has it, or its first output's.
std::string node_name(const onnx::NodeProto& node);

// A node as messages name it: `'/model.0/Conv' (Conv)`.
std::string describe_node(const onnx::NodeProto& node);

// The equation of an Einsum node.
std::string einsum_equation(const onnx::NodeProto& node);

// The version of ONNX's own operators that a model asks for; 0 if it does not say.
std::int64_t opset_of(const onnx::ModelProto& model);

// Why a model cannot be taken for its opset; nullopt if it can.
std::optional<std::string> opset_refusal(const onnx::ModelProto& model);

// Why a node of a file of opset `opset` cannot be taken; nullopt if it can.
std::optional<std::string> node_refusal(const onnx::NodeProto& node, std::int64_t opset);

// All problems at once, so that a user sees what is missing in one run: grouped by operator and
// reason, with a few names each, and bounded however large the model is. Errors: kUnsupported.
Result<> check_nodes(const onnx::ModelProto& model);

}  // namespace fovea::engine
