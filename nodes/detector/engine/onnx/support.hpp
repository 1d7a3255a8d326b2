// Which nodes of an ONNX graph can be taken, and why the others cannot. Internal to this folder.
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>

#include "nodes/base/result.hpp"

namespace onnx {
class GraphProto;
class NodeProto;
}  // namespace onnx

namespace fovea::engine {

// A node as messages name it: `'/model.0/Conv' (Conv)`.
std::string describe_node(const onnx::NodeProto& node);

// The equation of an Einsum node.
std::string einsum_equation(const onnx::NodeProto& node);

// Why a node cannot be taken; nullopt if it can.
std::optional<std::string> node_refusal(const onnx::NodeProto& node);

// All problems at once, so that a user sees what is missing in one run. Errors: kUnsupported.
Result<> check_nodes(const onnx::GraphProto& graph);

}  // namespace fovea::engine
