// Everything read here is checked before it is used: a file may come from
// anywhere.
#include "nodes/detector/engine/onnx/parser.hpp"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include <fmt/core.h>
#include <onnx/onnx_pb.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/dynamic_quantization.hpp"
#include "nodes/detector/engine/onnx/einsum.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/onnx/model_file.hpp"
#include "nodes/detector/engine/onnx/operators.hpp"
#include "nodes/detector/engine/onnx/support.hpp"
#include "nodes/detector/engine/onnx/suppression.hpp"
#include "nodes/detector/engine/onnx/tensors.hpp"

namespace fovea::engine {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNameLimit = 60;  // of what messages show of a name

tl::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message));
}
tl::unexpected<Error> unsupported(std::string message) {
  return fail(ErrorCode::kUnsupported, std::move(message));
}

// As layers and values are called from here on, in plans, tables and messages.
std::string plain_name(std::string_view name) { return one_line(utf8_prefix(name, 256)); }

// Builds one network; the steps are in the order of run().
class Parser {
 public:
  Parser(const onnx::ModelProto& model, fs::path base_dir)
      : model_(model), graph_(model.graph()), tensors_(std::move(base_dir)) {}

  Result<NetworkDefinition> run() {
    FOVEA_TRY(read_header());
    FOVEA_TRY(check_nodes(model_));
    FOVEA_TRY(read_initializers());
    FOVEA_TRY(read_inputs());
    FOVEA_TRY(read_nodes());
    FOVEA_TRY(read_outputs());
    FOVEA_TRY(network_.sort_layers());
    read_metadata();
    FOVEA_TRY(network_.validate());
    return std::move(network_);
  }

 private:
  Result<> read_header() {
    network_.opset = opset_of(model_);
    if (const auto refusal = opset_refusal(model_)) return unsupported(*refusal);
    if (graph_.node_size() == 0) return corrupt("the graph has no nodes");
    network_.producer = model_.producer_name();
    return {};
  }

  // A new value under `name`, which nobody may have taken.
  Result<ValueId> define(const std::string& name, std::string_view by) {
    if (name.empty()) return corrupt(fmt::format("{} has no name", by));
    const auto next = static_cast<ValueId>(network_.values.size());
    if (!ids_.emplace(name, next).second) {
      return corrupt(
          fmt::format("{} defines '{}', which is already defined", by, shown(name, kNameLimit)));
    }
    const std::string plain = plain_name(name);
    const bool same = plain == name;  // two names may become one
    return network_.add_value(
        {same ? plain : fmt::format("{}#{}", plain, next), DataType::kFloat32, {}, nullptr});
  }

  Result<> define_constant(const std::string& name, Constant constant, std::string_view by) {
    FOVEA_ASSIGN(const ValueId id, define(name, by));
    Value& value = network_.value(id);
    value.dtype = constant.dtype;
    value.dims = constant.dims;
    value.constant = std::make_shared<const Constant>(std::move(constant));
    return {};
  }

  Result<> read_initializers() {
    if (graph_.sparse_initializer_size() > 0)
      return unsupported("sparse initialisers are not supported");
    for (const auto& tensor : graph_.initializer()) {
      const std::string who = fmt::format("initialiser '{}'", shown(tensor.name(), kNameLimit));
      auto constant = tensors_.read(tensor);
      if (!constant) return fail(constant.error().with_context(who));
      FOVEA_TRY(define_constant(tensor.name(), std::move(*constant), who));
      constant_types_[tensor.name()] = tensor.data_type();
    }
    return {};
  }

  Result<> read_inputs() {
    std::unordered_set<std::string> seen;
    for (const auto& input : graph_.input()) {
      const std::string who = fmt::format("input '{}'", shown(input.name(), kNameLimit));
      if (!seen.insert(input.name()).second) return corrupt(who + " is listed twice");
      if (ids_.contains(input.name()))
        continue;  // an initialiser; files before IR 4 list those too
      if (!input.type().has_tensor_type() || !input.type().tensor_type().has_shape()) {
        return unsupported(who + " is no tensor with a shape");
      }
      const auto& type = input.type().tensor_type();
      auto dtype = widened_type(type.elem_type());
      if (type.elem_type() == onnx::TensorProto::UINT8) dtype = DataType::kUint8;
      if (!dtype) return unsupported(fmt::format("{} has element type {}", who, type.elem_type()));
      Dims dims;
      Dims smallest;
      for (const auto& dim : type.shape().dim()) {
        const bool fixed = dim.value_case() == onnx::TensorShapeProto::Dimension::kDimValue;
        if (fixed && dim.dim_value() < 1 && dim.dim_value() != -1) {
          return corrupt(
              fmt::format("{} has extent {}; it must be positive", who, dim.dim_value()));
        }
        dims.push_back(fixed ? dim.dim_value() : -1);
        smallest.push_back(std::max<std::int64_t>(1, dims.back()));
      }
      if (!checked_volume(smallest)) {
        return corrupt(fmt::format("{} is {}; at most {} axes and {} elements are supported", who,
                                   to_string(dims), kMaxRank, kMaxElements));
      }
      FOVEA_ASSIGN(const ValueId id, define(input.name(), who));
      network_.value(id).dtype = *dtype;
      network_.value(id).dims = std::move(dims);
      network_.inputs.push_back(id);
    }
    if (network_.inputs.empty()) return corrupt("the graph has no input");
    return {};
  }

  Result<> read_constant_node(const onnx::NodeProto& node) {
    const std::string who = "node " + describe_node(node);
    if (node.output_size() != 1) return corrupt(who + " must have one output");
    for (const auto& attribute : node.attribute()) {
      Constant constant;
      if (attribute.name() == "value" && attribute.has_t()) {
        auto loaded = tensors_.read(attribute.t());
        if (!loaded) return fail(loaded.error().with_context(who));
        constant = std::move(*loaded);
        constant_types_[node.output(0)] = attribute.t().data_type();
      } else if (attribute.name() == "value_float") {
        constant = Constant::floats({}, {attribute.f()});
      } else if (attribute.name() == "value_floats") {
        constant = Constant::floats({attribute.floats_size()},
                                    {attribute.floats().begin(), attribute.floats().end()});
      } else if (attribute.name() == "value_int" || attribute.name() == "value_ints") {
        const bool scalar = attribute.name() == "value_int";
        constant = scalar ? Constant::ints({attribute.i()})
                          : Constant::ints({attribute.ints().begin(), attribute.ints().end()});
        if (scalar) constant.dims.clear();
      } else {
        continue;
      }
      return define_constant(node.output(0), std::move(constant), who);
    }
    return unsupported(who + " has no value that is supported");
  }

  std::string unique_name(const onnx::NodeProto& node) {
    const std::string base =
        plain_name(node.name().empty() ? node.op_type() + "_" + node.output(0) : node.name());
    std::string name = base;
    for (int i = 1; !layer_names_.insert(name).second; ++i) name = fmt::format("{}#{}", base, i);
    return name;
  }

  Result<> read_nodes() {
    // Outputs first: nodes may stand in any order.
    for (const auto& node : graph_.node()) {
      if (node.op_type() == "Constant") {
        FOVEA_TRY(read_constant_node(node));
        continue;
      }
      for (const std::string& output : node.output()) {
        if (!output.empty()) FOVEA_TRY(define(output, "node " + describe_node(node)));
      }
    }
    for (const auto& node : graph_.node()) {
      if (node.op_type() != "Constant") FOVEA_TRY(read_node(node));
    }
    for (const auto& [layer, who] : integer_products_) {
      auto taken = dynamic_.take_product(network_.layers[layer], network_);
      if (!taken) return fail(taken.error().with_context(who));
    }
    return {};
  }

  Result<> read_node(const onnx::NodeProto& node) {
    const std::string who = "node " + describe_node(node);
    Layer layer;
    layer.name = unique_name(node);
    layer.op = find_operator(node.op_type(), network_.opset)->op;
    for (const std::string& input : node.input()) {
      const auto found = ids_.find(input);
      if (!input.empty() && found == ids_.end()) {
        return corrupt(
            fmt::format("{} reads '{}', which nothing writes", who, shown(input, kNameLimit)));
      }
      layer.inputs.push_back(input.empty() ? kNoValue : found->second);
    }
    while (!layer.inputs.empty() && layer.inputs.back() == kNoValue) layer.inputs.pop_back();
    for (int i = 0; i < node.output_size(); ++i) {
      // These may leave an output out; the others only at the end, which refusal() allows.
      if (!node.output(i).empty()) {
        layer.outputs.push_back(ids_.at(node.output(i)));
      } else if (layer.op == OpType::kSplit || node.op_type() == "DynamicQuantizeLinear") {
        layer.outputs.push_back(network_.add_value(
            {fmt::format("{}.{}", layer.name, i), DataType::kFloat32, {}, nullptr}));
      }
    }
    for (const auto& attribute : node.attribute()) read_attribute(attribute, layer);
    if (layer.op == OpType::kCast) {
      const auto to = widened_type(static_cast<int>(layer.int_attribute("to", 0)));
      if (!to) return unsupported(fmt::format("{}: its target type is not supported", who));
      layer.attributes["to"] = static_cast<std::int64_t>(*to);
    }
    if (layer.op == OpType::kQuantizeLinear) {
      if (auto named = name_codes(node, layer); !named)
        return fail(named.error().with_context(who));
    }
    if (layer.op == OpType::kConstantOfShape) {
      Constant fill_value = Constant::floats({1}, {0.0F});
      for (const auto& attribute : node.attribute()) {
        auto loaded = tensors_.read(attribute.t());
        if (!loaded) return fail(loaded.error().with_context(who));
        fill_value = std::move(*loaded);
      }
      layer.inputs.push_back(network_.add_constant(
          layer.name + ".value", std::make_shared<const Constant>(std::move(fill_value))));
    }
    if (node.op_type() == "Einsum") {
      if (layer.inputs.size() != 2) return corrupt(who + " must have two operands");
      append_einsum(*parse_einsum(einsum_equation(node)), layer, network_);
      return {};
    }
    if (node.op_type() == "DynamicQuantizeLinear") dynamic_.take_quantizer(layer, network_);
    if (node.op_type() == "ConvInteger" || node.op_type() == "MatMulInteger") {
      integer_products_.emplace_back(network_.layers.size(), who);
    }
    modernise(layer, network_.opset, network_);
    network_.layers.push_back(std::move(layer));
    return {};
  }

  // The codes of a QuantizeLinear have the type of its zero point, which widening would lose.
  Result<> name_codes(const onnx::NodeProto& node, Layer& layer) const {
    int type = onnx::TensorProto::UINT8;
    if (const auto asked = static_cast<int>(layer.int_attribute("output_dtype", 0)); asked != 0) {
      type = asked;
    } else if (node.input_size() > 2 && !node.input(2).empty()) {
      const auto found = constant_types_.find(node.input(2));
      if (found == constant_types_.end()) return unsupported("its zero point is no constant");
      type = found->second;
    }
    layer.attributes.erase("output_dtype");
    layer.attributes.erase("saturate");
    const auto codes = [&](std::int64_t low, std::int64_t high) -> Result<> {
      layer.attributes["low"] = low;
      layer.attributes["high"] = high;
      return {};
    };
    switch (type) {
      case onnx::TensorProto::UINT8:
        return codes(0, UINT8_MAX);
      case onnx::TensorProto::INT8:
        return codes(INT8_MIN, INT8_MAX);
      case onnx::TensorProto::UINT16:
        return codes(0, UINT16_MAX);
      case onnx::TensorProto::INT16:
        return codes(INT16_MIN, INT16_MAX);
      default:
        return unsupported("its codes must be of 8 or 16 bits");
    }
  }

  static void read_attribute(const onnx::AttributeProto& attribute, Layer& layer) {
    switch (attribute.type()) {
      case onnx::AttributeProto::INT:
        layer.attributes[attribute.name()] = attribute.i();
        break;
      case onnx::AttributeProto::FLOAT:
        layer.attributes[attribute.name()] = attribute.f();
        break;
      case onnx::AttributeProto::STRING:
        layer.attributes[attribute.name()] = attribute.s();
        break;
      case onnx::AttributeProto::INTS:
        layer.attributes[attribute.name()] =
            std::vector<std::int64_t>(attribute.ints().begin(), attribute.ints().end());
        break;
      case onnx::AttributeProto::FLOATS:
        layer.attributes[attribute.name()] =
            std::vector<float>(attribute.floats().begin(), attribute.floats().end());
        break;
      default:
        break;  // tensors are read where they are needed
    }
  }

  Result<> read_outputs() {
    for (const auto& output : graph_.output()) {
      const auto found = ids_.find(output.name());
      if (found == ids_.end()) {
        return corrupt(
            fmt::format("output '{}' is written by no node", shown(output.name(), kNameLimit)));
      }
      if (std::find(network_.outputs.begin(), network_.outputs.end(), found->second) !=
          network_.outputs.end()) {
        return corrupt(
            fmt::format("output '{}' is listed twice", shown(output.name(), kNameLimit)));
      }
      network_.outputs.push_back(found->second);
    }
    if (network_.outputs.empty()) return corrupt("the graph has no output");
    return {};
  }

  void read_metadata() {
    for (const auto& property : model_.metadata_props()) {
      network_.metadata[property.key()] = property.value();
    }
    const auto names = network_.metadata.find("names");
    if (names != network_.metadata.end()) network_.class_names = parse_class_names(names->second);
  }

  const onnx::ModelProto& model_;
  const onnx::GraphProto& graph_;
  TensorReader tensors_;
  NetworkDefinition network_;
  std::unordered_map<std::string, ValueId> ids_;
  std::unordered_map<std::string, int> constant_types_;  // as the file has them, by name
  std::unordered_set<std::string> layer_names_;
  DynamicQuantization dynamic_;
  std::vector<std::pair<std::size_t, std::string>> integer_products_;  // layers and their nodes
};

}  // namespace

Result<NetworkDefinition> parse_onnx(std::span<const std::byte> bytes, const fs::path& base_dir) {
  onnx::ModelProto model;
  FOVEA_TRY(decode_model(bytes, model));
  const auto suppression = find_suppression(model.graph());
  if (suppression) cut_suppression(*suppression, *model.mutable_graph());
  FOVEA_ASSIGN(NetworkDefinition network, Parser(model, base_dir).run());
  network.suppression_cut = suppression.has_value();
  return network;
}

Result<NetworkDefinition> parse_onnx(const fs::path& file) {
  FOVEA_ASSIGN(const std::vector<std::byte> bytes, read_model_file(file));
  auto network = parse_onnx(bytes, folder_of_model(file));
  if (!network) return fail(network.error().with_context(file.string()));
  return network;
}

}  // namespace fovea::engine
