// The parts that every ONNX model is written with, whoever writes it: lowered networks (writer.hpp),
// adapted models (adapter.hpp) and the models of tests.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace onnx {
class GraphProto;
class ModelProto;
class NodeProto;
class TensorProto;
class ValueInfoProto;
}  // namespace onnx

namespace fovea::engine {

// At the graph's end. What is returned stays valid.
onnx::NodeProto& add_node(onnx::GraphProto& graph, const std::string& op,
                          const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs, const std::string& name = {});

// REQUIRES: the node has no attribute of that name.
void set_attribute(onnx::NodeProto& node, const std::string& name, const Attribute& content);

// `type` is ONNX's number of the elements' type (element_type.hpp). A negative extent is open.
void set_tensor_type(onnx::ValueInfoProto& value, const std::string& name, int type,
                     const Dims& dims);

// Name, type and extents; the elements are the caller's.
void set_tensor_header(onnx::TensorProto& tensor, const std::string& name, int type,
                       const Dims& dims);
void set_raw_data(onnx::TensorProto& tensor, std::span<const std::byte> bytes);

// Errors: kExhausted for more than protobuf's 2 GB.
Result<std::vector<std::byte>> serialise(const onnx::ModelProto& model);

}  // namespace fovea::engine
