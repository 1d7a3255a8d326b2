// The parts are those of the engine (onnx/protos.hpp); here is what only tests write: every encoding
// and element type, sound or not.
#include "tests/engine/onnx_writer.hpp"

#include <fstream>

#include <onnx/onnx_pb.h>

#include "nodes/detector/engine/onnx/protos.hpp"

namespace fovea::engine::test {

struct OnnxWriter::Model {
  onnx::ModelProto proto;
};

namespace {

template <class T>
void append(std::string& raw, double value) {
  const T element = static_cast<T>(value);
  raw.append(reinterpret_cast<const char*>(&element), sizeof(T));
}

std::string raw_bytes(const OnnxTensor& tensor) {
  std::string raw;
  for (const double value : tensor.values) {
    switch (tensor.type) {
      case OnnxType::kFloat:
        append<float>(raw, value);
        break;
      case OnnxType::kDouble:
        append<double>(raw, value);
        break;
      case OnnxType::kInt64:
        append<std::int64_t>(raw, value);
        break;
      case OnnxType::kInt32:
        append<std::int32_t>(raw, value);
        break;
      case OnnxType::kInt8:
        append<std::int8_t>(raw, value);
        break;
      case OnnxType::kUint16:
      case OnnxType::kFloat16:
      case OnnxType::kBfloat16:
        append<std::uint16_t>(raw, value);
        break;
      default:
        append<std::uint8_t>(raw, value);
        break;
    }
  }
  return raw;
}

void fill(const OnnxTensor& tensor, onnx::TensorProto& proto) {
  set_tensor_header(proto, tensor.name, static_cast<int>(tensor.type), tensor.dims);
  if (tensor.encoding == Encoding::kExternal) {
    proto.set_data_location(onnx::TensorProto::EXTERNAL);
    for (const auto& [key, value] : tensor.external) {
      auto* entry = proto.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
  } else if (tensor.encoding == Encoding::kRaw) {
    proto.set_raw_data(raw_bytes(tensor));
  } else {
    for (const double value : tensor.values) {
      switch (tensor.type) {
        case OnnxType::kFloat:
          proto.add_float_data(static_cast<float>(value));
          break;
        case OnnxType::kDouble:
          proto.add_double_data(value);
          break;
        case OnnxType::kInt64:
          proto.add_int64_data(static_cast<std::int64_t>(value));
          break;
        default:
          proto.add_int32_data(static_cast<std::int32_t>(value));
          break;
      }
    }
  }
}

}  // namespace

OnnxWriter::OnnxWriter(std::int64_t opset) : model_(std::make_unique<Model>()) {
  model_->proto.set_ir_version(8);
  model_->proto.set_producer_name("onnx_writer");
  model_->proto.add_opset_import()->set_version(opset);
  model_->proto.mutable_graph()->set_name("graph");
}

OnnxWriter::~OnnxWriter() = default;
OnnxWriter::OnnxWriter(OnnxWriter&&) noexcept = default;

OnnxWriter& OnnxWriter::input(const std::string& name, const Dims& dims, OnnxType type) {
  set_tensor_type(*model_->proto.mutable_graph()->add_input(), name, static_cast<int>(type), dims);
  return *this;
}

OnnxWriter& OnnxWriter::output(const std::string& name) {
  model_->proto.mutable_graph()->add_output()->set_name(name);
  return *this;
}

OnnxWriter& OnnxWriter::initializer(const OnnxTensor& tensor) {
  fill(tensor, *model_->proto.mutable_graph()->add_initializer());
  return *this;
}

OnnxWriter& OnnxWriter::floats(const std::string& name, const Dims& dims,
                               const std::vector<double>& values) {
  return initializer({name, OnnxType::kFloat, dims, values});
}

OnnxWriter& OnnxWriter::ints(const std::string& name, const std::vector<double>& values) {
  return initializer({name, OnnxType::kInt64, {static_cast<std::int64_t>(values.size())}, values});
}

OnnxWriter& OnnxWriter::node(const std::string& op, const std::vector<std::string>& inputs,
                             const std::vector<std::string>& outputs,
                             const std::map<std::string, Attribute>& attributes,
                             const std::string& name) {
  onnx::NodeProto& made = add_node(*model_->proto.mutable_graph(), op, inputs, outputs, name);
  for (const auto& [key, value] : attributes) set_attribute(made, key, value);
  return *this;
}

OnnxWriter& OnnxWriter::node_with_tensor(const std::string& op,
                                         const std::vector<std::string>& inputs,
                                         const std::string& output, const std::string& attribute,
                                         const OnnxTensor& tensor) {
  node(op, inputs, {output});
  auto* graph = model_->proto.mutable_graph();
  auto* added = graph->mutable_node(graph->node_size() - 1)->add_attribute();
  added->set_name(attribute);
  added->set_type(onnx::AttributeProto::TENSOR);
  fill(tensor, *added->mutable_t());
  return *this;
}

OnnxWriter& OnnxWriter::domain(const std::string& domain) {
  auto* graph = model_->proto.mutable_graph();
  graph->mutable_node(graph->node_size() - 1)->set_domain(domain);
  return *this;
}

OnnxWriter& OnnxWriter::metadata(const std::string& key, const std::string& value) {
  auto* property = model_->proto.add_metadata_props();
  property->set_key(key);
  property->set_value(value);
  return *this;
}

std::vector<std::byte> OnnxWriter::bytes() const { return serialise(model_->proto).value(); }

void OnnxWriter::save(const std::filesystem::path& file) const {
  std::ofstream(file, std::ios::binary) << model_->proto.SerializeAsString();
}

}  // namespace fovea::engine::test
