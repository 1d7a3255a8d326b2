#include "nodes/detector/engine/onnx/protos.hpp"

#include <climits>
#include <type_traits>
#include <variant>

#include <fmt/core.h>
#include <onnx/onnx_pb.h>

namespace fovea::engine {

onnx::NodeProto& add_node(onnx::GraphProto& graph, const std::string& op,
                          const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs, const std::string& name) {
  onnx::NodeProto& made = *graph.add_node();
  made.set_op_type(op);
  if (!name.empty()) made.set_name(name);
  for (const std::string& input : inputs) made.add_input(input);
  for (const std::string& output : outputs) made.add_output(output);
  return made;
}

void set_attribute(onnx::NodeProto& node, const std::string& name, const Attribute& content) {
  onnx::AttributeProto& made = *node.add_attribute();
  made.set_name(name);
  std::visit(
      [&]<class Content>(const Content& exact) {
        if constexpr (std::is_same_v<Content, std::int64_t>) {
          made.set_type(onnx::AttributeProto::INT);
          made.set_i(exact);
        } else if constexpr (std::is_same_v<Content, float>) {
          made.set_type(onnx::AttributeProto::FLOAT);
          made.set_f(exact);
        } else if constexpr (std::is_same_v<Content, std::string>) {
          made.set_type(onnx::AttributeProto::STRING);
          made.set_s(exact);
        } else if constexpr (std::is_same_v<Content, std::vector<std::int64_t>>) {
          made.set_type(onnx::AttributeProto::INTS);
          for (const std::int64_t number : exact) made.add_ints(number);
        } else {
          made.set_type(onnx::AttributeProto::FLOATS);
          for (const float number : exact) made.add_floats(number);
        }
      },
      content);
}

void set_tensor_type(onnx::ValueInfoProto& value, const std::string& name, int type,
                     const Dims& dims) {
  value.set_name(name);
  onnx::TypeProto::Tensor& tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(type);
  onnx::TensorShapeProto& shape = *tensor.mutable_shape();
  for (const std::int64_t extent : dims) {
    if (extent < 0) {
      shape.add_dim()->set_dim_param("batch");
    } else {
      shape.add_dim()->set_dim_value(extent);
    }
  }
}

void set_tensor_header(onnx::TensorProto& tensor, const std::string& name, int type,
                       const Dims& dims) {
  tensor.set_name(name);
  tensor.set_data_type(type);
  for (const std::int64_t extent : dims) tensor.add_dims(extent);
}

void set_raw_data(onnx::TensorProto& tensor, std::span<const std::byte> bytes) {
  tensor.set_raw_data(bytes.data(), bytes.size());
}

Result<std::vector<std::byte>> serialise(const onnx::ModelProto& model) {
  const std::size_t size = model.ByteSizeLong();
  if (size > INT_MAX) {
    return fail(ErrorCode::kExhausted,
                fmt::format("as ONNX the network takes {} bytes; at most {} fit into a model", size,
                            INT_MAX));
  }
  std::vector<std::byte> bytes(size);
  if (!model.SerializeToArray(bytes.data(), static_cast<int>(size))) {
    return fail(ErrorCode::kInternal, "the network cannot be written as ONNX");
  }
  return bytes;
}

}  // namespace fovea::engine
