// The table of supported operators. A new one needs a line here, a case in shape_inference.cpp and
// one in reference/operators.cpp.
#include "nodes/detector/engine/onnx/operators.hpp"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine {

namespace {

constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();
constexpr auto kInt = AttributeKind::kInt;
constexpr auto kFloat = AttributeKind::kFloat;
constexpr auto kString = AttributeKind::kString;
constexpr auto kInts = AttributeKind::kInts;
constexpr auto kFloats = AttributeKind::kFloats;

const std::vector<OperatorRule>& operator_table() {
  static const AttributeRule kAutoPad = {
      "auto_pad", kString, {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"}};
  static const std::vector<AttributeRule> kReduce = {
      {"axes", kInts}, {"keepdims", kInt}, {"noop_with_empty_axes", kInt}};
  static const std::vector<OperatorRule> kTable = {
      {OpType::kAbs, 1, 1, 1},
      {OpType::kAdd, 2, 2, 1},
      {OpType::kAnd, 2, 2, 1},
      {OpType::kArgMax,
       1,
       1,
       1,
       {{"axis", kInt}, {"keepdims", kInt}, {"select_last_index", kInt, {"0"}}}},
      {OpType::kAveragePool,
       1,
       1,
       1,
       {kAutoPad,
        {"ceil_mode", kInt},
        {"count_include_pad", kInt},
        {"dilations", kInts},
        {"kernel_shape", kInts},
        {"pads", kInts},
        {"strides", kInts}}},
      {OpType::kBatchNormalization,
       5,
       5,
       1,
       {{"epsilon", kFloat}, {"momentum", kFloat}, {"training_mode", kInt, {"0"}}}},
      {OpType::kCast, 1, 1, 1, {{"saturate", kInt}, {"to", kInt}}},
      {OpType::kCeil, 1, 1, 1},
      {OpType::kClip, 1, 3, 1},
      {OpType::kConcat, 1, kAny, 1, {{"axis", kInt}}},
      {OpType::kConstantOfShape, 1, 1, 1},
      {OpType::kConv,
       2,
       3,
       1,
       {kAutoPad,
        {"dilations", kInts},
        {"group", kInt},
        {"kernel_shape", kInts},
        {"pads", kInts},
        {"strides", kInts}}},
      {OpType::kConvTranspose,
       2,
       3,
       1,
       {{"auto_pad", kString, {"NOTSET", "VALID"}},
        {"dilations", kInts},
        {"group", kInt},
        {"kernel_shape", kInts},
        {"output_padding", kInts},
        {"pads", kInts},
        {"strides", kInts}}},
      {OpType::kCos, 1, 1, 1},
      {OpType::kDequantizeLinear,
       2,
       3,
       1,
       {{"axis", kInt}, {"block_size", kInt, {"0"}}, {"output_dtype", kInt, {"0", "1"}}}},
      {OpType::kDiv, 2, 2, 1},
      {OpType::kEqual, 2, 2, 1},
      {OpType::kErf, 1, 1, 1},
      {OpType::kExp, 1, 1, 1},
      {OpType::kExpand, 2, 2, 1},
      {OpType::kFlatten, 1, 1, 1, {{"axis", kInt}}},
      {OpType::kFloor, 1, 1, 1},
      {OpType::kGather, 2, 2, 1, {{"axis", kInt}}},
      {OpType::kGatherElements, 2, 2, 1, {{"axis", kInt}}},
      {OpType::kGatherND, 2, 2, 1, {{"batch_dims", kInt}}},
      {OpType::kGelu, 1, 1, 1, {{"approximate", kString, {"none", "tanh"}}}},
      {OpType::kGemm,
       2,
       3,
       1,
       {{"alpha", kFloat}, {"beta", kFloat}, {"transA", kInt}, {"transB", kInt}}},
      {OpType::kGlobalAveragePool, 1, 1, 1},
      {OpType::kGreater, 2, 2, 1},
      {OpType::kGreaterOrEqual, 2, 2, 1},
      {OpType::kGridSample,
       2,
       2,
       1,
       {{"align_corners", kInt, {"0", "1"}},
        {"mode", kString, {"linear", "bilinear", "nearest"}},
        {"padding_mode", kString, {"zeros", "border", "reflection"}}}},
      {OpType::kHardSigmoid, 1, 1, 1, {{"alpha", kFloat}, {"beta", kFloat}}},
      {OpType::kHardSwish, 1, 1, 1},
      {OpType::kIdentity, 1, 1, 1},
      {OpType::kLayerNormalization,
       2,
       3,
       1,
       {{"axis", kInt}, {"epsilon", kFloat}, {"stash_type", kInt, {"1"}}}},
      {OpType::kLeakyRelu, 1, 1, 1, {{"alpha", kFloat}}},
      {OpType::kLess, 2, 2, 1},
      {OpType::kLessOrEqual, 2, 2, 1},
      {OpType::kLog, 1, 1, 1},
      {OpType::kMatMul, 2, 2, 1},
      {OpType::kMax, 1, kAny, 1},
      {OpType::kMaxPool,
       1,
       1,
       1,
       {kAutoPad,
        {"ceil_mode", kInt},
        {"dilations", kInts},
        {"kernel_shape", kInts},
        {"pads", kInts},
        {"storage_order", kInt},
        {"strides", kInts}}},
      {OpType::kMin, 1, kAny, 1},
      {OpType::kMod, 2, 2, 1, {{"fmod", kInt, {"0", "1"}}}},
      {OpType::kMul, 2, 2, 1},
      {OpType::kNeg, 1, 1, 1},
      {OpType::kNot, 1, 1, 1},
      {OpType::kOr, 2, 2, 1},
      {OpType::kPad, 2, 4, 1, {{"mode", kString, {"constant"}}}},
      {OpType::kPow, 2, 2, 1},
      {OpType::kQuantizeLinear,
       2,
       3,
       1,
       {{"axis", kInt},
        {"block_size", kInt, {"0"}},
        {"output_dtype", kInt},
        {"precision", kInt, {"0", "1"}},
        {"saturate", kInt}}},
      {OpType::kRange, 3, 3, 1},
      {OpType::kReciprocal, 1, 1, 1},
      {OpType::kReduceL2,
       1,
       2,
       1,
       {{"axes", kInts}, {"keepdims", kInt}, {"noop_with_empty_axes", kInt, {"0"}}}},
      {OpType::kReduceMax, 1, 2, 1, kReduce},
      {OpType::kReduceMean, 1, 2, 1, kReduce},
      {OpType::kReduceSum, 1, 2, 1, kReduce},
      {OpType::kRelu, 1, 1, 1},
      {OpType::kReshape, 2, 2, 1, {{"allowzero", kInt}}},
      {OpType::kResize,
       1,
       4,
       1,
       {{"antialias", kInt, {"0"}},
        {"axes", kInts},
        {"coordinate_transformation_mode",
         kString,
         {"asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"}},
        {"cubic_coeff_a", kFloat},
        {"exclude_outside", kInt},
        {"extrapolation_value", kFloat},
        {"keep_aspect_ratio_policy", kString, {"stretch"}},
        {"mode", kString, {"nearest", "linear"}},
        {"nearest_mode", kString, {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}}}},
      {OpType::kRound, 1, 1, 1},
      {OpType::kScatterND, 3, 3, 1, {{"reduction", kString, {"none"}}}},
      {OpType::kShape, 1, 1, 1, {{"end", kInt}, {"start", kInt}}},
      {OpType::kSigmoid, 1, 1, 1},
      {OpType::kSign, 1, 1, 1},
      {OpType::kSin, 1, 1, 1},
      {OpType::kSlice, 3, 5, 1},
      {OpType::kSoftmax, 1, 1, 1, {{"axis", kInt}}},
      {OpType::kSplit, 1, 2, kAny, {{"axis", kInt}, {"num_outputs", kInt}, {"split", kInts}}},
      {OpType::kSqrt, 1, 1, 1},
      {OpType::kSqueeze, 1, 2, 1, {{"axes", kInts}}},
      {OpType::kSub, 2, 2, 1},
      {OpType::kTanh, 1, 1, 1},
      {OpType::kTile, 2, 2, 1},
      {OpType::kTopK, 2, 2, 2, {{"axis", kInt}, {"largest", kInt}, {"sorted", kInt}}},
      {OpType::kTranspose, 1, 1, 1, {{"perm", kInts}}},
      {OpType::kUnsqueeze, 1, 2, 1, {{"axes", kInts}}},
      {OpType::kWhere, 3, 3, 1},
      {OpType::kXor, 2, 2, 1},
  };
  return kTable;
}

// How operators were spelt before: what are inputs now were attributes.
struct OldForm {
  std::string_view name;
  std::int64_t until;  // the last opset that has it
  OperatorRule rule;
};
const std::vector<OldForm>& old_forms() {
  static const AttributeRule kMode = {"mode", kString, {"nearest", "linear"}};
  // By name, oldest first.
  static const std::vector<OldForm> kTable = {
      {"BatchNormalization",
       8,
       {OpType::kBatchNormalization,
        5,
        5,
        1,
        {{"epsilon", kFloat}, {"momentum", kFloat}, {"spatial", kInt, {"1"}}}}},
      {"Clip", 10, {OpType::kClip, 1, 1, 1, {{"max", kFloat}, {"min", kFloat}}}},
      {"Pad",
       10,
       {OpType::kPad,
        1,
        1,
        1,
        {{"mode", kString, {"constant"}}, {"pads", kInts}, {"value", kFloat}}}},
      {"Resize", 10, {OpType::kResize, 2, 2, 1, {kMode}}},
      {"Slice",
       9,
       {OpType::kSlice, 1, 1, 1, {{"axes", kInts}, {"ends", kInts}, {"starts", kInts}}}},
      {"Upsample", 8, {OpType::kResize, 1, 1, 1, {kMode, {"scales", kFloats}}}},
      {"Upsample", 9, {OpType::kResize, 2, 2, 1, {kMode}}},
  };
  return kTable;
}

// attribute -> input `index`, where the file gives the attribute and not the input.
void attribute_to_input(Layer& layer, const char* attribute, std::size_t index,
                        NetworkDefinition& network) {
  const auto found = layer.attributes.find(attribute);
  if (found == layer.attributes.end()) return;
  Constant constant;
  if (const auto* ints = std::get_if<std::vector<std::int64_t>>(&found->second)) {
    constant = Constant::ints(*ints);
  } else if (const auto* floats = std::get_if<std::vector<float>>(&found->second)) {
    constant = Constant::floats({static_cast<std::int64_t>(floats->size())}, *floats);
  } else {
    constant = Constant::floats({}, {std::get<float>(found->second)});
  }
  layer.attributes.erase(found);
  if (layer.inputs.size() > index && layer.inputs[index] != kNoValue) return;
  layer.inputs.resize(std::max(layer.inputs.size(), index + 1), kNoValue);
  layer.inputs[index] = network.add_constant(layer.name + "." + attribute,
                                             std::make_shared<const Constant>(std::move(constant)));
}

// Resize and Upsample before opset 11 knew neither ways to round nor to place pixels.
void modernise_resize(Layer& layer, NetworkDefinition& network) {
  attribute_to_input(layer, "scales", 1, network);
  if (layer.inputs.size() > 1) layer.inputs.insert(layer.inputs.begin() + 1, kNoValue);
  layer.attributes["coordinate_transformation_mode"] = std::string("asymmetric");
  layer.attributes["nearest_mode"] = std::string(kSimpleNearest);
}

const OperatorRule& find_rule(OpType op) {
  return *std::find_if(operator_table().begin(), operator_table().end(),
                       [&](const OperatorRule& rule) { return rule.op == op; });
}

}  // namespace

std::string_view to_string(AttributeKind kind) {
  switch (kind) {
    case AttributeKind::kInt:
      return "an integer";
    case AttributeKind::kFloat:
      return "a float";
    case AttributeKind::kString:
      return "a string";
    case AttributeKind::kInts:
      return "a list of integers";
    case AttributeKind::kFloats:
      return "a list of floats";
  }
  return "unknown";
}

const OperatorRule* find_operator(std::string_view onnx_name, std::int64_t opset) {
  for (const OldForm& old : old_forms()) {
    if (old.name == onnx_name && opset <= old.until) return &old.rule;
  }
  static const auto kByName = [] {
    std::unordered_map<std::string_view, const OperatorRule*> by_name;
    for (const OperatorRule& rule : operator_table()) by_name[to_string(rule.op)] = &rule;
    // At inference; one that asks for training or for its mask is refused.
    static const OperatorRule kDropout = {
        OpType::kIdentity, 1, 2, 1, {{"ratio", kFloat}, {"seed", kInt}}};
    by_name["Dropout"] = &kDropout;
    // Become float operators: dynamic_quantization.hpp.
    static const OperatorRule kDynamicQuantizer = {OpType::kIdentity, 1, 1, 3};
    by_name["DynamicQuantizeLinear"] = &kDynamicQuantizer;
    static const OperatorRule kConvInteger = {OpType::kConv, 2, 4, 1,
                                              find_rule(OpType::kConv).attributes};
    by_name["ConvInteger"] = &kConvInteger;
    static const OperatorRule kMatMulInteger = {OpType::kMatMul, 2, 4, 1};
    by_name["MatMulInteger"] = &kMatMulInteger;
    // Where it is one, which parse_einsum() says.
    static const OperatorRule kEinsum = {OpType::kMatMul, 2, 2, 1, {{"equation", kString}}};
    by_name["Einsum"] = &kEinsum;
    return by_name;
  }();
  const auto found = kByName.find(onnx_name);
  return found == kByName.end() ? nullptr : found->second;
}

void modernise(Layer& layer, std::int64_t opset, NetworkDefinition& network) {
  switch (layer.op) {
    case OpType::kIdentity:  // Dropout's ratio
      layer.inputs.resize(1);
      break;
    case OpType::kClip:
      attribute_to_input(layer, "min", 1, network);
      attribute_to_input(layer, "max", 2, network);
      break;
    case OpType::kPad:
      attribute_to_input(layer, "pads", 1, network);
      attribute_to_input(layer, "value", 2, network);
      break;
    case OpType::kGridSample:  // opset 20 renamed it
      if (layer.string_attribute("mode", "linear") == "bilinear" ||
          !layer.attributes.contains("mode")) {
        layer.attributes["mode"] = std::string("linear");
      }
      break;
    case OpType::kResize:
      if (opset < 11) modernise_resize(layer, network);
      break;
    case OpType::kSlice:
      attribute_to_input(layer, "starts", 1, network);
      attribute_to_input(layer, "ends", 2, network);
      attribute_to_input(layer, "axes", 3, network);
      break;
    case OpType::kSplit:
      attribute_to_input(layer, "split", 1, network);
      layer.attributes.erase("num_outputs");  // the outputs say it
      break;
    case OpType::kSqueeze:
    case OpType::kUnsqueeze:
    case OpType::kReduceL2:
    case OpType::kReduceMax:
    case OpType::kReduceMean:
    case OpType::kReduceSum:
      attribute_to_input(layer, "axes", 1, network);
      break;
    case OpType::kSoftmax:
      if (opset < 13) {  // all axes from this one on used to be one vector
        layer.attributes.try_emplace("axis", std::int64_t{1});
        layer.attributes["flatten"] = std::int64_t{1};
      }
      break;
    default:
      break;
  }
}

}  // namespace fovea::engine
