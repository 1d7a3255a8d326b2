#include "nodes/detector/engine/onnx/writer.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/core.h>
#include <onnx/onnx_pb.h>

#include "nodes/detector/engine/onnx/element_type.hpp"
#include "nodes/detector/engine/onnx/protos.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

namespace {

static_assert(onnx_type(DataType::kFloat32) == onnx::TensorProto::FLOAT);
static_assert(onnx_type(DataType::kFloat16) == onnx::TensorProto::FLOAT16);
static_assert(onnx_type(DataType::kInt8) == onnx::TensorProto::INT8);
static_assert(onnx_type(DataType::kUint8) == onnx::TensorProto::UINT8);
static_assert(onnx_type(DataType::kInt32) == onnx::TensorProto::INT32);
static_assert(onnx_type(DataType::kInt64) == onnx::TensorProto::INT64);
static_assert(onnx_type(DataType::kBool) == onnx::TensorProto::BOOL);

class Writer {
 public:
  explicit Writer(const NetworkDefinition& shaped)
      : network_(shaped), graph_(*model_.mutable_graph()) {
    model_.set_ir_version(kWrittenIrVersion);
    model_.set_producer_name("fovea");
    model_.add_opset_import()->set_version(kWrittenOpset);
    graph_.set_name("fovea");
  }

  Result<std::vector<std::byte>> write() {
    name_input();
    for (const Layer& layer : network_.layers) {
      layer_ = &layer;
      FOVEA_TRY(add(layer));
    }
    for (std::size_t i = 0; i < network_.outputs.size(); ++i) add_output(i);
    return serialise(model_);
  }

 private:
  using Names = std::vector<std::string>;

  // Values are named by number: names in a network need not be unique.
  static std::string name_of(ValueId id) { return fmt::format("v{}", id); }
  std::string fresh() { return fmt::format("t{}", next_++); }
  const Value& value(ValueId id) const { return network_.value(id); }

  void name_input() {
    const ValueId id = network_.inputs[0];
    set_tensor_type(*graph_.add_input(), kWrittenInput, onnx_type(value(id).dtype), value(id).dims);
    node("Identity", {kWrittenInput}, name_of(id));
  }

  std::string constant(const Constant& constant) {
    std::string name = fresh();
    onnx::TensorProto& tensor = *graph_.add_initializer();
    set_tensor_header(tensor, name, onnx_type(constant.dtype), constant.dims);
    set_raw_data(tensor, {constant.bytes.data(), constant.bytes.size()});
    return name;
  }
  std::string scalar(float number) { return constant(Constant::floats({}, {number})); }

  // The name of what a layer reads; constants are written when they are first read.
  std::string read(ValueId id) {
    if (id == kNoValue) return {};
    const Value& read_value = value(id);
    if (read_value.constant == nullptr) return name_of(id);
    std::string& name = constants_[id];
    if (name.empty()) {
      const Constant& stored = *read_value.constant;
      name = constant(stored.packed() ? unpack_weights(stored) : stored);
    }
    return name;
  }

  onnx::NodeProto& node(const std::string& op, const Names& inputs, const std::string& output) {
    std::string name;
    if (layer_ != nullptr) name = fmt::format("{}#{}", layer_->name, graph_.node_size() + 1);
    return add_node(graph_, op, inputs, {output}, name);
  }
  std::string step(const std::string& op, const Names& inputs) {
    std::string output = fresh();
    node(op, inputs, output);
    return output;
  }

  std::string cast(const std::string& from, DataType to) {
    std::string output = fresh();
    set_attribute(node("Cast", {from}, output), "to", std::int64_t{onnx_type(to)});
    return output;
  }
  std::string reshape(const std::string& from, const Dims& dims) {
    return step("Reshape", {from, constant(Constant::ints(dims))});
  }

  // The layer, then what was fused into it; the last node writes the layer's output.
  Result<> add(const Layer& layer) {
    if (layer.activation == Activation::kNone && layer.residual == kNoValue) {
      return add_plain(layer, name_of(layer.outputs[0]));
    }
    std::string last = fresh();
    FOVEA_TRY(add_plain(layer, last));
    if (layer.activation != Activation::kNone) last = activate(layer, last);
    if (layer.residual != kNoValue) last = step("Add", {last, read(layer.residual)});
    node("Identity", {last}, name_of(layer.outputs[0]));
    return {};
  }

  std::string activate(const Layer& layer, const std::string& x) {
    switch (layer.activation) {
      case Activation::kNone:
        return x;
      case Activation::kSilu:
        return step("Mul", {x, step("Sigmoid", {x})});
      case Activation::kRelu:
        return step("Relu", {x});
      case Activation::kLeakyRelu: {
        std::string output = fresh();
        set_attribute(node("LeakyRelu", {x}, output), "alpha", layer.activation_alpha);
        return output;
      }
      case Activation::kSigmoid:
        return step("Sigmoid", {x});
      case Activation::kHardSwish:
        return step("HardSwish", {x});
    }
    return x;
  }

  // Without what was fused into it. `output` is the first one's name.
  Result<> add_plain(const Layer& layer, const std::string& output) {
    switch (layer.op) {
      case OpType::kSilu: {
        const std::string x = read(layer.inputs[0]);
        node("Mul", {x, step("Sigmoid", {x})}, output);
        return {};
      }
      case OpType::kImageInput:
        set_attribute(node("Transpose", {cast(read(layer.inputs[0]), DataType::kFloat32)}, output),
                      "perm", std::vector<std::int64_t>{0, 3, 1, 2});
        return {};
      case OpType::kConstantOfShape:  // here its fill value is an input
        node("Expand", {reshape(read(layer.inputs[1]), {}), read(layer.inputs[0])}, output);
        return {};
      case OpType::kCast:
        node("Identity", {cast(read(layer.inputs[0]), value(layer.outputs[0]).dtype)}, output);
        return {};
      case OpType::kQuantizeLinear:
        return add_quantize(layer, output);
      case OpType::kDequantizeLinear:
        return add_dequantize(layer, output);
      case OpType::kSoftmax:
        if (layer.int_attribute("flatten", 0) != 0) return add_flat_softmax(layer, output);
        break;
      case OpType::kResize:
        return add_resize(layer, output);
      default:
        break;
    }
    add_same(layer, output);
    return {};
  }

  // ONNX has the operator as it is.
  onnx::NodeProto& add_same(const Layer& layer, const std::string& output) {
    Names inputs;
    for (const ValueId id : layer.inputs) inputs.push_back(read(id));
    while (!inputs.empty() && inputs.back().empty()) inputs.pop_back();
    onnx::NodeProto& made = node(std::string(to_string(layer.op)), inputs, output);
    for (std::size_t i = 1; i < layer.outputs.size(); ++i) {
      made.add_output(name_of(layer.outputs[i]));
    }
    for (const auto& [name, content] : layer.attributes) set_attribute(made, name, content);
    if (layer.op == OpType::kSplit && inputs.size() < 2) {
      set_attribute(made, "num_outputs", static_cast<std::int64_t>(layer.outputs.size()));
    }
    return made;
  }

  // One number, or one per extent of "axis", so that it broadcasts over `like`.
  Result<std::string> along_axis(const Layer& layer, ValueId id, const std::string& name) {
    const Dims& dims = value(id).dims;
    const std::int64_t count = volume(dims);
    const auto rank = static_cast<std::int64_t>(value(layer.inputs[0]).dims.size());
    if (count == 1) return reshape(name, {});
    std::int64_t axis = layer.int_attribute("axis", 1);
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("layer '{}': axis {} of {}", layer.name, axis, rank));
    }
    Dims wide(static_cast<std::size_t>(rank), 1);
    wide[static_cast<std::size_t>(axis)] = count;
    return reshape(name, wide);
  }

  // Codes are i64 in a network; ONNX's own operators have 8 bits only.
  Result<> add_quantize(const Layer& layer, const std::string& output) {
    FOVEA_ASSIGN(const std::string scale,
                 along_axis(layer, layer.inputs[1], read(layer.inputs[1])));
    std::string codes = step("Round", {step("Div", {read(layer.inputs[0]), scale})});
    if (layer.inputs.size() > 2 && layer.inputs[2] != kNoValue) {
      FOVEA_ASSIGN(
          const std::string zero,
          along_axis(layer, layer.inputs[2], cast(read(layer.inputs[2]), DataType::kFloat32)));
      codes = step("Add", {codes, zero});
    }
    const auto end = [&](const char* name, std::int64_t otherwise) {
      return scalar(static_cast<float>(layer.int_attribute(name, otherwise)));
    };
    const std::string clipped = step("Clip", {codes, end("low", 0), end("high", 255)});
    node("Identity", {cast(clipped, value(layer.outputs[0]).dtype)}, output);
    return {};
  }

  Result<> add_dequantize(const Layer& layer, const std::string& output) {
    FOVEA_ASSIGN(const std::string scale,
                 along_axis(layer, layer.inputs[1], read(layer.inputs[1])));
    std::string codes = cast(read(layer.inputs[0]), DataType::kFloat32);
    if (layer.inputs.size() > 2 && layer.inputs[2] != kNoValue) {
      FOVEA_ASSIGN(
          const std::string zero,
          along_axis(layer, layer.inputs[2], cast(read(layer.inputs[2]), DataType::kFloat32)));
      codes = step("Sub", {codes, zero});
    }
    node("Mul", {codes, scale}, output);
    return {};
  }

  // All axes from "axis" on are one vector.
  Result<> add_flat_softmax(const Layer& layer, const std::string& output) {
    const Dims& dims = value(layer.inputs[0]).dims;
    const auto rank = static_cast<std::int64_t>(dims.size());
    std::int64_t axis = layer.int_attribute("axis", 1);
    if (axis < 0) axis += rank;
    const auto middle = dims.begin() + std::min(std::max<std::int64_t>(axis, 0), rank);
    const std::string flat = reshape(read(layer.inputs[0]), {volume(Dims(dims.begin(), middle)),
                                                             volume(Dims(middle, dims.end()))});
    std::string soft = fresh();
    set_attribute(node("Softmax", {flat}, soft), "axis", std::int64_t{1});
    node("Reshape", {soft, constant(Constant::ints(dims))}, output);
    return {};
  }

  // Before opset 11 pixels were "simple": up to the one before, down to the one after.
  Result<> add_resize(const Layer& layer, const std::string& output) {
    Layer modern = layer;
    const std::string nearest = layer.string_attribute("nearest_mode", "round_prefer_floor");
    const std::set<std::string> known = {"floor", "ceil", "round_prefer_floor",
                                         "round_prefer_ceil"};
    if (!known.contains(nearest)) {
      const Dims& from = value(layer.inputs[0]).dims;
      const Dims& to = value(layer.outputs[0]).dims;
      bool shrinks = false;
      for (std::size_t i = 0; i < from.size(); ++i) shrinks = shrinks || to[i] < from[i];
      modern.attributes["nearest_mode"] = std::string(shrinks ? "ceil" : "floor");
    }
    add_same(modern, output);
    return {};
  }

  void add_output(std::size_t index) {
    const ValueId id = network_.outputs[index];
    const Value& from = value(id);
    const std::string name = written_output(index);
    layer_ = nullptr;
    Dims dims = from.dims;
    if (network_.head.spec.channels_last(from.name) && dims.size() == 4) {
      set_attribute(node("Transpose", {read(id)}, name), "perm",
                    std::vector<std::int64_t>{0, 2, 3, 1});
      dims = {dims[0], dims[2], dims[3], dims[1]};
    } else {
      node("Identity", {read(id)}, name);
    }
    set_tensor_type(*graph_.add_output(), name, onnx_type(from.dtype), dims);
  }

  const NetworkDefinition& network_;
  onnx::ModelProto model_;
  onnx::GraphProto& graph_;
  const Layer* layer_ = nullptr;  // whose nodes are being written
  std::map<ValueId, std::string> constants_;
  int next_ = 0;
};

}  // namespace

std::string written_output(std::size_t index) { return fmt::format("fovea_output{}", index); }

Result<std::vector<std::byte>> write_onnx(const NetworkDefinition& lowered) {
  NetworkDefinition shaped = lowered;
  FOVEA_TRY(infer_shapes(shaped, 1));
  if (shaped.inputs.size() != 1) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the network has {} inputs; it must have 1", shaped.inputs.size()));
  }
  return Writer(shaped).write();
}

}  // namespace fovea::engine
