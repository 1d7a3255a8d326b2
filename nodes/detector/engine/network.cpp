// Names, bounds and consistency of the intermediate representation.
#include "nodes/detector/engine/network.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <queue>
#include <unordered_set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"

namespace fovea::engine {

std::size_t element_size(DataType dtype) {
  switch (dtype) {
    case DataType::kInt8:
    case DataType::kUint8:
    case DataType::kBool:
      return 1;
    case DataType::kFloat16:
    case DataType::kBfloat16:
      return 2;
    case DataType::kFloat32:
    case DataType::kInt32:
      return 4;
    case DataType::kInt64:
      return 8;
  }
  return 0;
}

std::string_view to_string(DataType dtype) {
  switch (dtype) {
    case DataType::kFloat32:
      return "float32";
    case DataType::kFloat16:
      return "float16";
    case DataType::kBfloat16:
      return "bfloat16";
    case DataType::kInt8:
      return "int8";
    case DataType::kUint8:
      return "uint8";
    case DataType::kInt32:
      return "int32";
    case DataType::kInt64:
      return "int64";
    case DataType::kBool:
      return "bool";
  }
  return "unknown";
}

std::int64_t volume(const Dims& dims) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : dims) elements *= extent;
  return elements;
}

std::optional<std::int64_t> checked_volume(const Dims& dims) {
  if (dims.size() > kMaxRank) return std::nullopt;
  std::int64_t elements = 1;
  for (const std::int64_t extent : dims) {
    if (extent < 0 || extent > kMaxElements) return std::nullopt;
    if (extent > 0 && elements > kMaxElements / extent) return std::nullopt;
    elements *= extent;
  }
  return elements;
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += dims[i] < 0 ? "?" : std::to_string(dims[i]);
  }
  return text + "]";
}

std::string_view to_string(OpType op) {
  switch (op) {
    case OpType::kAbs:
      return "Abs";
    case OpType::kAdd:
      return "Add";
    case OpType::kAnd:
      return "And";
    case OpType::kArgMax:
      return "ArgMax";
    case OpType::kAveragePool:
      return "AveragePool";
    case OpType::kBatchNormalization:
      return "BatchNormalization";
    case OpType::kCast:
      return "Cast";
    case OpType::kCeil:
      return "Ceil";
    case OpType::kClip:
      return "Clip";
    case OpType::kConcat:
      return "Concat";
    case OpType::kConstantOfShape:
      return "ConstantOfShape";
    case OpType::kConv:
      return "Conv";
    case OpType::kConvTranspose:
      return "ConvTranspose";
    case OpType::kCos:
      return "Cos";
    case OpType::kDequantizeLinear:
      return "DequantizeLinear";
    case OpType::kDiv:
      return "Div";
    case OpType::kEqual:
      return "Equal";
    case OpType::kErf:
      return "Erf";
    case OpType::kExp:
      return "Exp";
    case OpType::kExpand:
      return "Expand";
    case OpType::kFlatten:
      return "Flatten";
    case OpType::kFloor:
      return "Floor";
    case OpType::kGather:
      return "Gather";
    case OpType::kGatherElements:
      return "GatherElements";
    case OpType::kGatherND:
      return "GatherND";
    case OpType::kGelu:
      return "Gelu";
    case OpType::kGemm:
      return "Gemm";
    case OpType::kGlobalAveragePool:
      return "GlobalAveragePool";
    case OpType::kGreater:
      return "Greater";
    case OpType::kGreaterOrEqual:
      return "GreaterOrEqual";
    case OpType::kGridSample:
      return "GridSample";
    case OpType::kHardSigmoid:
      return "HardSigmoid";
    case OpType::kHardSwish:
      return "HardSwish";
    case OpType::kIdentity:
      return "Identity";
    case OpType::kLayerNormalization:
      return "LayerNormalization";
    case OpType::kLeakyRelu:
      return "LeakyRelu";
    case OpType::kLess:
      return "Less";
    case OpType::kLessOrEqual:
      return "LessOrEqual";
    case OpType::kLog:
      return "Log";
    case OpType::kMatMul:
      return "MatMul";
    case OpType::kMax:
      return "Max";
    case OpType::kMaxPool:
      return "MaxPool";
    case OpType::kMin:
      return "Min";
    case OpType::kMod:
      return "Mod";
    case OpType::kMul:
      return "Mul";
    case OpType::kNeg:
      return "Neg";
    case OpType::kNot:
      return "Not";
    case OpType::kOr:
      return "Or";
    case OpType::kPad:
      return "Pad";
    case OpType::kPow:
      return "Pow";
    case OpType::kQuantizeLinear:
      return "QuantizeLinear";
    case OpType::kRange:
      return "Range";
    case OpType::kReciprocal:
      return "Reciprocal";
    case OpType::kReduceL2:
      return "ReduceL2";
    case OpType::kReduceMax:
      return "ReduceMax";
    case OpType::kReduceMean:
      return "ReduceMean";
    case OpType::kReduceSum:
      return "ReduceSum";
    case OpType::kRelu:
      return "Relu";
    case OpType::kReshape:
      return "Reshape";
    case OpType::kResize:
      return "Resize";
    case OpType::kRound:
      return "Round";
    case OpType::kScatterND:
      return "ScatterND";
    case OpType::kShape:
      return "Shape";
    case OpType::kSigmoid:
      return "Sigmoid";
    case OpType::kSign:
      return "Sign";
    case OpType::kSin:
      return "Sin";
    case OpType::kSlice:
      return "Slice";
    case OpType::kSoftmax:
      return "Softmax";
    case OpType::kSplit:
      return "Split";
    case OpType::kSqrt:
      return "Sqrt";
    case OpType::kSqueeze:
      return "Squeeze";
    case OpType::kSub:
      return "Sub";
    case OpType::kTanh:
      return "Tanh";
    case OpType::kTile:
      return "Tile";
    case OpType::kTopK:
      return "TopK";
    case OpType::kTranspose:
      return "Transpose";
    case OpType::kUnsqueeze:
      return "Unsqueeze";
    case OpType::kWhere:
      return "Where";
    case OpType::kXor:
      return "Xor";
    case OpType::kSilu:
      return "Silu";
    case OpType::kImageInput:
      return "ImageInput";
    case OpType::kForeign:
      return "Foreign";
  }
  return "unknown";
}

std::string foreign_dims(std::size_t output) { return fmt::format("dims{}", output); }
std::string foreign_type(std::size_t output) { return fmt::format("type{}", output); }

std::string_view to_string(HeadBasis basis) {
  switch (basis) {
    case HeadBasis::kNone:
      return "none";
    case HeadBasis::kComputed:
      return "computed";
    case HeadBasis::kStated:
      return "stated";
    case HeadBasis::kMetadata:
      return "metadata";
    case HeadBasis::kAssumed:
      return "assumed";
  }
  return "unknown";
}

std::string_view to_string(Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return "none";
    case Activation::kSilu:
      return "silu";
    case Activation::kRelu:
      return "relu";
    case Activation::kLeakyRelu:
      return "leaky_relu";
    case Activation::kSigmoid:
      return "sigmoid";
    case Activation::kHardSwish:
      return "hard_swish";
  }
  return "unknown";
}

Constant Constant::make(DataType dtype, Dims dims) {
  Constant constant{dtype, std::move(dims), {}};
  constant.bytes.resize(static_cast<std::size_t>(constant.size()) * element_size(dtype));
  return constant;
}

Constant Constant::floats(Dims dims, const std::vector<float>& values) {
  Constant constant = make(DataType::kFloat32, std::move(dims));
  if (!values.empty()) std::memcpy(constant.bytes.data(), values.data(), constant.bytes.size());
  return constant;
}

Constant Constant::ints(const std::vector<std::int64_t>& values) {
  Constant constant = make(DataType::kInt64, {static_cast<std::int64_t>(values.size())});
  if (!values.empty()) std::memcpy(constant.bytes.data(), values.data(), constant.bytes.size());
  return constant;
}

namespace {

template <class T>
T attribute_or(const Layer& layer, const std::string& name, T fallback) {
  const auto found = layer.attributes.find(name);
  if (found == layer.attributes.end()) return fallback;
  const T* value = std::get_if<T>(&found->second);
  return value != nullptr ? *value : fallback;
}

}  // namespace

std::int64_t Layer::int_attribute(const std::string& attribute, std::int64_t fallback) const {
  return attribute_or(*this, attribute, fallback);
}
float Layer::float_attribute(const std::string& attribute, float fallback) const {
  return attribute_or(*this, attribute, fallback);
}
std::string Layer::string_attribute(const std::string& attribute,
                                    const std::string& fallback) const {
  return attribute_or(*this, attribute, fallback);
}
std::vector<std::int64_t> Layer::ints_attribute(const std::string& attribute,
                                                std::vector<std::int64_t> fallback) const {
  return attribute_or(*this, attribute, std::move(fallback));
}

ValueId NetworkDefinition::add_value(Value value) {
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

ValueId NetworkDefinition::add_constant(std::string name,
                                        std::shared_ptr<const Constant> constant) {
  Value value{std::move(name), constant->type(), constant->dims, nullptr};
  value.constant = std::move(constant);
  return add_value(std::move(value));
}

Result<> NetworkDefinition::sort_layers() {
  std::vector<std::size_t> waits(layers.size(), 0);
  std::vector<std::vector<std::size_t>> readers(values.size());
  std::vector<bool> computed(values.size(), false);
  for (const Layer& layer : layers) {
    for (const ValueId id : layer.outputs) computed[static_cast<std::size_t>(id)] = true;
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto wait_for = [&](ValueId id) {
      if (id == kNoValue || !computed[static_cast<std::size_t>(id)]) return;
      readers[static_cast<std::size_t>(id)].push_back(i);
      ++waits[i];
    };
    for (const ValueId id : layers[i].inputs) wait_for(id);
    wait_for(layers[i].residual);
  }
  std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (waits[i] == 0) ready.push(i);
  }
  std::vector<std::size_t> order;
  while (!ready.empty()) {
    order.push_back(ready.top());
    ready.pop();
    for (const ValueId id : layers[order.back()].outputs) {
      for (const std::size_t reader : readers[static_cast<std::size_t>(id)]) {
        if (--waits[reader] == 0) ready.push(reader);
      }
    }
  }
  if (order.size() != layers.size()) {
    constexpr std::size_t kMaxListed = 4;
    std::vector<std::string> stuck;
    for (std::size_t i = 0; i < layers.size() && stuck.size() < kMaxListed; ++i) {
      if (waits[i] > 0) stuck.push_back(fmt::format("'{}'", shown(layers[i].name, 60)));
    }
    return fail(ErrorCode::kCorrupt,
                fmt::format("the graph has a cycle through or before {}", fmt::join(stuck, ", ")));
  }
  std::vector<Layer> sorted;
  sorted.reserve(layers.size());
  for (const std::size_t i : order) sorted.push_back(std::move(layers[i]));
  layers = std::move(sorted);
  return {};
}

namespace {

bool packing_is_valid(const Constant& constant) {
  return constant.dtype == DataType::kInt8 && !constant.dims.empty() &&
         constant.dims[0] == static_cast<std::int64_t>(constant.scales.size()) &&
         std::all_of(constant.scales.begin(), constant.scales.end(),
                     [](float scale) { return scale >= kSmallestScale && scale <= kLargestScale; });
}

}  // namespace

Result<> NetworkDefinition::validate() const {
  std::vector<bool> written(values.size(), false);
  const auto in_range = [&](ValueId id) {
    return id >= 0 && static_cast<std::size_t>(id) < values.size();
  };
  const auto write = [&](ValueId id, std::string_view writer) -> Result<> {
    if (!in_range(id)) {
      return fail(ErrorCode::kInternal,
                  fmt::format("{} writes value {} of {}", writer, id, values.size()));
    }
    if (written[static_cast<std::size_t>(id)]) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} writes '{}', which is already written", writer, value(id).name));
    }
    written[static_cast<std::size_t>(id)] = true;
    return {};
  };
  const auto read = [&](ValueId id, std::string_view reader) -> Result<> {
    if (!in_range(id)) {
      return fail(ErrorCode::kInternal,
                  fmt::format("{} reads value {} of {}", reader, id, values.size()));
    }
    if (!written[static_cast<std::size_t>(id)]) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{} reads '{}', which nothing before it writes", reader, value(id).name));
    }
    return {};
  };

  for (std::size_t i = 0; i < values.size(); ++i) {
    const Constant* constant = values[i].constant.get();
    if (constant == nullptr) continue;
    const auto elements = checked_volume(constant->dims);
    if (!elements || constant->dims != values[i].dims || constant->type() != values[i].dtype ||
        constant->bytes.size() !=
            static_cast<std::size_t>(*elements) * element_size(constant->dtype)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("constant '{}' {} has {} bytes, which its dims and type do not give",
                              values[i].name, to_string(constant->dims), constant->bytes.size()));
    }
    if (constant->packed() && !packing_is_valid(*constant)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("constant '{}' {} is packed with {} scales that do not fit it",
                              values[i].name, to_string(constant->dims), constant->scales.size()));
    }
    written[i] = true;
  }
  for (const ValueId id : inputs) FOVEA_TRY(write(id, "the network's input list"));

  std::unordered_set<std::string_view> names;
  for (const Layer& layer : layers) {
    const std::string who = fmt::format("layer '{}' ({})", layer.name, to_string(layer.op));
    if (!names.insert(layer.name).second) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} has a name that is already taken", who));
    }
    for (const ValueId id : layer.inputs) {
      if (id != kNoValue) FOVEA_TRY(read(id, who));
    }
    if (layer.residual != kNoValue) FOVEA_TRY(read(layer.residual, who));
    if (layer.outputs.empty()) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("{} has no output", who));
    }
    for (const ValueId id : layer.outputs) FOVEA_TRY(write(id, who));
  }
  for (const ValueId id : outputs) FOVEA_TRY(read(id, "the network's output list"));
  return {};
}

std::optional<std::vector<std::int64_t>> constant_ints(const NetworkDefinition& network,
                                                       ValueId id) {
  if (id == kNoValue) return std::nullopt;
  const Constant* constant = network.value(id).constant.get();
  if (constant == nullptr || constant->dtype != DataType::kInt64) return std::nullopt;
  const auto* data = constant->data<std::int64_t>();
  return std::vector<std::int64_t>(data, data + constant->size());
}

}  // namespace fovea::engine
