// Our own shape inference: ONNX's library knows opsets up to 17 only, trusts extents from the file,
// and does not follow shape arithmetic as far as a dynamic export needs.
#include "nodes/detector/engine/shapes/shape_inference.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "nodes/detector/engine/reference/evaluate.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"
#include "nodes/detector/engine/shapes/shape_rules.hpp"

namespace fovea::engine {

namespace {

using namespace shapes;

// Contents are followed up to this many elements: anchors and shapes, not feature maps.
constexpr std::int64_t kMaxKnownElements = 1 << 18;

bool is_number(DataType dtype) { return dtype == DataType::kFloat32 || dtype == DataType::kInt64; }

Result<Infos> infer_float_unary(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_number_unary(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  if (!is_number(in[0].dtype)) {
    return invalid(
        fmt::format("input 0 is {}; it must be float32 or int64", to_string(in[0].dtype)));
  }
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_same(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_binary(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  if (!is_number(in[0].dtype) || in[0].dtype != in[1].dtype) {
    return invalid(fmt::format("the inputs are {} and {}; both must be float32 or both int64",
                               to_string(in[0].dtype), to_string(in[1].dtype)));
  }
  FOVEA_ASSIGN(Dims dims, broadcast_dims(in[0].dims, in[1].dims));
  const bool compares = layer.op == OpType::kEqual || layer.op == OpType::kGreater ||
                        layer.op == OpType::kLess || layer.op == OpType::kGreaterOrEqual ||
                        layer.op == OpType::kLessOrEqual;
  if (layer.op == OpType::kMod && in[0].dtype == DataType::kFloat32 &&
      layer.int_attribute("fmod", 0) == 0) {
    return invalid("fmod is 0, which is for integers; the inputs are float32");
  }
  return one(compares ? DataType::kBool : in[0].dtype, std::move(dims));
}

Result<Infos> infer_logic(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  for (std::size_t i = 0; i < 2; ++i) FOVEA_TRY(in.require_type(i, DataType::kBool));
  FOVEA_ASSIGN(Dims dims, broadcast_dims(in[0].dims, in[1].dims));
  return one(DataType::kBool, std::move(dims));
}

Result<Infos> infer_not(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kBool));
  return one(DataType::kBool, in[0].dims);
}

Result<Infos> infer_extremum(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(std::max<std::size_t>(1, in.size())));
  if (!is_number(in[0].dtype)) return invalid("input 0 must be float32 or int64");
  Dims dims = in[0].dims;
  for (std::size_t i = 1; i < in.size(); ++i) {
    FOVEA_TRY(in.require_type(i, in[0].dtype));
    FOVEA_ASSIGN(dims, broadcast_dims(dims, in[i].dims));
  }
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_where(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(3));
  FOVEA_TRY(in.require_type(0, DataType::kBool));
  FOVEA_TRY(in.require_type(2, in[1].dtype));
  FOVEA_ASSIGN(Dims dims, broadcast_dims(in[0].dims, in[1].dims));
  FOVEA_ASSIGN(dims, broadcast_dims(dims, in[2].dims));
  return one(in[1].dtype, std::move(dims));
}

Result<Infos> infer_clip(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  for (std::size_t i = 0; i < 3; ++i) {
    if (in.get(i) == nullptr) continue;
    FOVEA_TRY(in.require_type(i, in[0].dtype));
    if (i > 0 && volume(in[i].dims) != 1) {
      return invalid(fmt::format("bound {} is {}; it must be a scalar", i, to_string(in[i].dims)));
    }
  }
  if (!is_number(in[0].dtype)) return invalid("input 0 must be float32 or int64");
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_cast(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  const std::int64_t to = layer.int_attribute("to", -1);
  for (const DataType dtype : {DataType::kFloat32, DataType::kInt64, DataType::kBool}) {
    if (to == static_cast<std::int64_t>(dtype)) return one(dtype, in[0].dims);
  }
  return fail(ErrorCode::kUnsupported,
              fmt::format("to is {}; it must be float32, int64 or bool", to));
}

Result<Infos> infer_conv(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  for (std::size_t i = 0; i < 3; ++i) FOVEA_TRY(in.require_type(i, DataType::kFloat32));
  FOVEA_TRY(in.require_rank(0, 4));
  FOVEA_TRY(in.require_rank(1, 4));
  const Dims& x = in[0].dims;
  const Dims& w = in[1].dims;
  const bool transposed = layer.op == OpType::kConvTranspose;
  const std::int64_t group = layer.int_attribute("group", 1);
  // Conv weights are [out, in / group, kh, kw], ConvTranspose's [in, out / group, kh, kw].
  const std::int64_t w_in = transposed ? w[0] : w[1];
  if (group < 1 || group > kMaxElements || x[1] != (transposed ? w_in : w_in * group) ||
      w[0] % group != 0) {
    return invalid(fmt::format("weights {} in {} groups do not go with an input of {}",
                               to_string(w), group, to_string(x)));
  }
  const std::int64_t channels = transposed ? w[1] * group : w[0];
  if (in.get(2) != nullptr && in[2].dims != Dims{channels}) {
    return invalid(fmt::format("the bias is {}; it must be [{}]", to_string(in[2].dims), channels));
  }
  const auto kernel = layer.ints_attribute("kernel_shape", {w[2], w[3]});
  if (kernel != std::vector<std::int64_t>{w[2], w[3]}) {
    return invalid(
        fmt::format("kernel_shape is {} but the weights are {}", to_string(kernel), to_string(w)));
  }
  FOVEA_ASSIGN(const Window window, transposed
                                        ? resolve_transposed_window(layer, x[2], x[3], {w[2], w[3]})
                                        : resolve_window(layer, x[2], x[3], {w[2], w[3]}));
  return one(DataType::kFloat32, {x[0], channels, window[0].output, window[1].output});
}

Result<Infos> infer_pool(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_TRY(in.require_rank(0, 4));
  const auto kernel = layer.ints_attribute("kernel_shape", {});
  if (kernel.size() != 2) {
    return invalid(fmt::format("kernel_shape is {}; it must have 2 entries", to_string(kernel)));
  }
  const Dims& x = in[0].dims;
  FOVEA_ASSIGN(const Window window, resolve_window(layer, x[2], x[3], {kernel[0], kernel[1]}));
  for (const WindowAxis& axis : window) {
    if (axis.pad_begin >= (axis.kernel - 1) * axis.dilation + 1) {
      return invalid(fmt::format("padding {} is not smaller than the kernel", axis.pad_begin));
    }
  }
  return one(DataType::kFloat32, {x[0], x[1], window[0].output, window[1].output});
}

Result<Infos> infer_global_pool(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_TRY(in.require_rank(0, 4));
  if (in[0].dims[2] * in[0].dims[3] == 0) return invalid("the input is empty");
  return one(DataType::kFloat32, {in[0].dims[0], in[0].dims[1], 1, 1});
}

Result<Infos> infer_batch_normalization(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(5));
  if (in[0].dims.size() < 2) return invalid("the input must have a channel axis");
  for (std::size_t i = 0; i < 5; ++i) {
    FOVEA_TRY(in.require_type(i, DataType::kFloat32));
    if (i > 0 && in[i].dims != Dims{in[0].dims[1]}) {
      return invalid(
          fmt::format("input {} is {}; it must be [{}]", i, to_string(in[i].dims), in[0].dims[1]));
    }
  }
  return one(DataType::kFloat32, in[0].dims);
}

// `reduce` says for each axis whether it goes.
Result<Dims> reduced(const Dims& x, const std::vector<bool>& reduce, bool keep) {
  Dims dims;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (reduce[i] && x[i] == 0) return invalid("it reduces an axis without elements");
    if (!reduce[i]) {
      dims.push_back(x[i]);
    } else if (keep) {
      dims.push_back(1);
    }
  }
  return dims;
}

Result<Infos> infer_reduce(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  const bool of_ints = layer.op == OpType::kReduceMax || layer.op == OpType::kReduceSum;
  if (!of_ints || in[0].dtype != DataType::kInt64) {
    FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  }
  FOVEA_ASSIGN(const auto axes, in.ints(1));
  const Dims& x = in[0].dims;
  if (axes.empty() && layer.int_attribute("noop_with_empty_axes", 0) != 0)
    return one(in[0].dtype, x);
  std::vector<bool> reduce(x.size(), axes.empty());
  for (const std::int64_t axis : axes) {
    FOVEA_ASSIGN(const std::size_t index, resolve_axis(axis, x.size()));
    reduce[index] = true;
  }
  FOVEA_ASSIGN(Dims dims, reduced(x, reduce, layer.int_attribute("keepdims", 1) != 0));
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_arg_max(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  const Dims& x = in[0].dims;
  FOVEA_ASSIGN(const std::size_t axis, resolve_axis(layer.int_attribute("axis", 0), x.size()));
  std::vector<bool> reduce(x.size(), false);
  reduce[axis] = true;
  FOVEA_ASSIGN(Dims dims, reduced(x, reduce, layer.int_attribute("keepdims", 1) != 0));
  return one(DataType::kInt64, std::move(dims));
}

Result<Infos> infer_top_k(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_ASSIGN(const auto k, in.ints(1));
  Dims dims = in[0].dims;
  FOVEA_ASSIGN(const std::size_t axis, resolve_axis(layer.int_attribute("axis", -1), dims.size()));
  if (k.size() != 1 || k[0] < 0 || k[0] > dims[axis]) {
    return invalid(fmt::format("k is {}; it must be one number of 0..{}, the extent of axis {}",
                               to_string(k), dims[axis], axis));
  }
  dims[axis] = k[0];
  return Infos{{DataType::kFloat32, dims, nullptr}, {DataType::kInt64, dims, nullptr}};
}

Result<Infos> infer_layer_normalization(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  const Dims& x = in[0].dims;
  FOVEA_ASSIGN(const std::size_t axis, resolve_axis(layer.int_attribute("axis", -1), x.size()));
  const Dims vector(x.begin() + static_cast<std::ptrdiff_t>(axis), x.end());
  if (volume(vector) == 0) return invalid("it normalises nothing");
  for (std::size_t i = 0; i < 3; ++i) {
    FOVEA_TRY(in.require_type(i, DataType::kFloat32));
    if (i > 0 && in.get(i) != nullptr && in[i].dims != vector) {
      return invalid(fmt::format("input {} is {}; it must be {}, as one vector is", i,
                                 to_string(in[i].dims), to_string(vector)));
    }
  }
  return one(DataType::kFloat32, x);
}

Result<Infos> infer_softmax(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_TRY(resolve_axis(layer.int_attribute("axis", -1), in[0].dims.size()));
  return one(DataType::kFloat32, in[0].dims);
}

Result<Infos> infer_matmul(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  const Dims& a = in[0].dims;
  const Dims& b = in[1].dims;
  for (std::size_t i = 0; i < 2; ++i) FOVEA_TRY(in.require_type(i, DataType::kFloat32));
  const auto depth = [](const Dims& dims) {
    return dims[std::max<std::size_t>(dims.size(), 2) - 2];
  };
  if (a.empty() || b.empty() || a.back() != depth(b)) {
    return invalid(fmt::format("{} and {} cannot be multiplied", to_string(a), to_string(b)));
  }
  // A vector is a row on the left and a column on the right, and its axis of 1 goes.
  const auto batch = [](const Dims& dims) {
    return Dims(dims.begin(), dims.end() - std::min<std::ptrdiff_t>(2, std::ssize(dims)));
  };
  FOVEA_ASSIGN(Dims dims, broadcast_dims(batch(a), batch(b)));
  if (a.size() > 1) dims.push_back(a[a.size() - 2]);
  if (b.size() > 1) dims.push_back(b.back());
  return one(DataType::kFloat32, std::move(dims));
}

Result<Infos> infer_gemm(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  for (std::size_t i = 0; i < 3; ++i) FOVEA_TRY(in.require_type(i, DataType::kFloat32));
  for (std::size_t i = 0; i < 2; ++i) FOVEA_TRY(in.require_rank(i, 2));
  const bool trans_a = layer.int_attribute("transA", 0) != 0;
  const bool trans_b = layer.int_attribute("transB", 0) != 0;
  const Dims& a = in[0].dims;
  const Dims& b = in[1].dims;
  if (a[trans_a ? 0 : 1] != b[trans_b ? 1 : 0]) {
    return invalid(fmt::format("{} and {} cannot be multiplied", to_string(a), to_string(b)));
  }
  const Dims dims = {a[trans_a ? 1 : 0], b[trans_b ? 0 : 1]};
  if (in.get(2) != nullptr) {
    FOVEA_ASSIGN(const Dims with_c, broadcast_dims(dims, in[2].dims));
    if (with_c != dims)
      return invalid(
          fmt::format("C {} does not broadcast to {}", to_string(in[2].dims), to_string(dims)));
  }
  return one(DataType::kFloat32, dims);
}

// QuantizeLinear and back: one scale and zero point, or one per extent of `axis`. One element is
// for all, whatever its rank: exporters write [], [1] and both side by side.
Result<Infos> infer_grid(const Layer& layer, const Inputs& in, DataType from, DataType to) {
  FOVEA_TRY(in.require(2));
  FOVEA_TRY(in.require_type(0, from));
  FOVEA_TRY(in.require_type(1, DataType::kFloat32));
  FOVEA_TRY(in.require_type(2, DataType::kInt64));
  const Dims& dims = in[0].dims;
  const Dims& scale = in[1].dims;
  if (in.get(2) != nullptr && volume(in[2].dims) != 1 && in[2].dims != scale) {
    return invalid(fmt::format("the scale is {} but the zero point {}", to_string(scale),
                               to_string(in[2].dims)));
  }
  if (volume(scale) != 1) {
    if (scale.size() > 1) {
      return invalid(fmt::format("the scale is {}; it must have one axis", to_string(scale)));
    }
    const auto rank = static_cast<std::int64_t>(dims.size());
    std::int64_t axis = layer.int_attribute("axis", 1);
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || dims[static_cast<std::size_t>(axis)] != scale[0]) {
      return invalid(fmt::format("{} scales do not fit axis {} of {}", scale[0],
                                 layer.int_attribute("axis", 1), to_string(dims)));
    }
  }
  const std::int64_t low = layer.int_attribute("low", 0);
  const std::int64_t high = layer.int_attribute("high", UINT8_MAX);
  if (low > high || low < INT16_MIN || high > UINT16_MAX) {
    return invalid(fmt::format("its codes are {}..{}", low, high));
  }
  return one(to, dims);
}

// The provider that took the model over found out what its outputs are.
Result<Infos> infer_foreign(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kUint8));
  FOVEA_TRY(in.require_rank(0, 4));
  Infos outputs;
  for (std::size_t i = 0; i < layer.outputs.size(); ++i) {
    const std::int64_t type = layer.int_attribute(foreign_type(i), -1);
    if (type < 0 || type > static_cast<std::int64_t>(DataType::kBool)) {
      return invalid(fmt::format("the type of output {} is {}", i, type));
    }
    outputs.push_back(
        {static_cast<DataType>(type), layer.ints_attribute(foreign_dims(i), {}), nullptr});
  }
  return outputs;
}

Result<Infos> infer_op(const Layer& layer, const Inputs& in) {
  switch (layer.op) {
    case OpType::kAdd:
    case OpType::kDiv:
    case OpType::kEqual:
    case OpType::kGreater:
    case OpType::kGreaterOrEqual:
    case OpType::kLess:
    case OpType::kLessOrEqual:
    case OpType::kMod:
    case OpType::kMul:
    case OpType::kPow:
    case OpType::kSub:
      return infer_binary(layer, in);
    case OpType::kMax:
    case OpType::kMin:
      return infer_extremum(layer, in);
    case OpType::kCeil:
    case OpType::kCos:
    case OpType::kErf:
    case OpType::kExp:
    case OpType::kFloor:
    case OpType::kGelu:
    case OpType::kHardSigmoid:
    case OpType::kHardSwish:
    case OpType::kLeakyRelu:
    case OpType::kLog:
    case OpType::kReciprocal:
    case OpType::kRelu:
    case OpType::kRound:
    case OpType::kSigmoid:
    case OpType::kSilu:
    case OpType::kSin:
    case OpType::kSqrt:
    case OpType::kTanh:
      return infer_float_unary(layer, in);
    case OpType::kAbs:
    case OpType::kNeg:
    case OpType::kSign:
      return infer_number_unary(layer, in);
    case OpType::kAnd:
    case OpType::kOr:
    case OpType::kXor:
      return infer_logic(layer, in);
    case OpType::kNot:
      return infer_not(layer, in);
    case OpType::kIdentity:
      return infer_same(layer, in);
    case OpType::kArgMax:
      return infer_arg_max(layer, in);
    case OpType::kAveragePool:
    case OpType::kMaxPool:
      return infer_pool(layer, in);
    case OpType::kBatchNormalization:
      return infer_batch_normalization(layer, in);
    case OpType::kCast:
      return infer_cast(layer, in);
    case OpType::kClip:
      return infer_clip(layer, in);
    case OpType::kConcat:
      return infer_concat(layer, in);
    case OpType::kConstantOfShape:
      return infer_constant_of_shape(layer, in);
    case OpType::kConv:
    case OpType::kConvTranspose:
      return infer_conv(layer, in);
    case OpType::kDequantizeLinear:
      return infer_grid(layer, in, DataType::kInt64, DataType::kFloat32);
    case OpType::kExpand:
      return infer_expand(layer, in);
    case OpType::kFlatten:
      return infer_flatten(layer, in);
    case OpType::kGather:
      return infer_gather(layer, in);
    case OpType::kGatherElements:
      return infer_gather_elements(layer, in);
    case OpType::kGatherND:
      return infer_gather_nd(layer, in);
    case OpType::kGemm:
      return infer_gemm(layer, in);
    case OpType::kGlobalAveragePool:
      return infer_global_pool(layer, in);
    case OpType::kGridSample:
      return infer_grid_sample(layer, in);
    case OpType::kLayerNormalization:
      return infer_layer_normalization(layer, in);
    case OpType::kMatMul:
      return infer_matmul(layer, in);
    case OpType::kPad:
      return infer_pad(layer, in);
    case OpType::kQuantizeLinear:
      return infer_grid(layer, in, DataType::kFloat32, DataType::kInt64);
    case OpType::kRange:
      return infer_range(layer, in);
    case OpType::kReduceL2:
    case OpType::kReduceMax:
    case OpType::kReduceMean:
    case OpType::kReduceSum:
      return infer_reduce(layer, in);
    case OpType::kReshape:
      return infer_reshape(layer, in);
    case OpType::kResize:
      return infer_resize(layer, in);
    case OpType::kScatterND:
      return infer_scatter_nd(layer, in);
    case OpType::kShape:
      return infer_shape(layer, in);
    case OpType::kSlice:
      return infer_slice(layer, in);
    case OpType::kSoftmax:
      return infer_softmax(layer, in);
    case OpType::kSplit:
      return infer_split(layer, in);
    case OpType::kSqueeze:
      return infer_squeeze(layer, in);
    case OpType::kTile:
      return infer_tile(layer, in);
    case OpType::kTopK:
      return infer_top_k(layer, in);
    case OpType::kTranspose:
      return infer_transpose(layer, in);
    case OpType::kUnsqueeze:
      return infer_unsqueeze(layer, in);
    case OpType::kWhere:
      return infer_where(layer, in);
    case OpType::kImageInput:
      return infer_image_input(layer, in);
    case OpType::kForeign:
      return infer_foreign(layer, in);
  }
  return fail(ErrorCode::kInternal, "unknown operator");
}

// Open extents of an input take the profile's opt.
void bind_size(NetworkDefinition& network, ValueId id) {
  Dims& dims = network.value(id).dims;
  const Dims& opt = network.profile.opt;
  if (dims.size() != 4 || opt.size() != 4) return;
  const bool channels_last =
      std::any_of(network.layers.begin(), network.layers.end(), [&](const Layer& layer) {
        return layer.op == OpType::kImageInput && layer.inputs == std::vector<ValueId>{id};
      });
  const std::size_t height = channels_last ? 1 : 2;
  if (dims[height] == -1) dims[height] = opt[2];
  if (dims[height + 1] == -1) dims[height + 1] = opt[3];
}

}  // namespace

Result<std::vector<TensorInfo>> infer_layer(const Layer& layer,
                                            std::span<const TensorInfo* const> inputs) {
  FOVEA_ASSIGN(Infos outputs, infer_op(layer, Inputs(inputs)));
  if (outputs.size() != layer.outputs.size()) {
    return invalid(
        fmt::format("it has {} outputs; it must have {}", layer.outputs.size(), outputs.size()));
  }
  for (const TensorInfo& output : outputs) {
    if (!checked_volume(output.dims)) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("an output would be {}; at most {} axes and {} elements are supported",
                      to_string(output.dims), kMaxRank, kMaxElements));
    }
  }
  return outputs;
}

Result<KnownValues> infer_known_values(NetworkDefinition& network, std::int64_t batch) {
  KnownValues known(network.values.size());
  for (std::size_t i = 0; i < known.size(); ++i) known[i] = network.values[i].constant;
  for (const ValueId id : network.inputs) {
    Value& input = network.value(id);
    if (!input.dims.empty() && input.dims[0] == -1) input.dims[0] = batch;
    bind_size(network, id);
    if (!checked_volume(input.dims)) {
      return invalid(
          fmt::format("input '{}' is {}; every extent but the first must be known, and it may "
                      "have {} elements at most",
                      input.name, to_string(input.dims), kMaxElements));
    }
  }

  std::vector<TensorInfo> infos;
  std::vector<const TensorInfo*> inputs;
  for (const Layer& layer : network.layers) {
    infos.assign(layer.inputs.size(), {});
    inputs.assign(layer.inputs.size(), nullptr);
    bool all_known = true;
    for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
      const ValueId id = layer.inputs[i];
      if (id == kNoValue) continue;
      const Constant* contents = known[static_cast<std::size_t>(id)].get();
      if (contents != nullptr && contents->packed()) contents = nullptr;  // codes, not numbers
      infos[i] = {network.value(id).dtype, network.value(id).dims, contents};
      inputs[i] = &infos[i];
      all_known = all_known && contents != nullptr;
    }
    const std::string who = fmt::format("layer '{}' ({})", layer.name, to_string(layer.op));
    auto outputs = infer_layer(layer, inputs);
    if (!outputs) return fail(outputs.error().with_context(who));
    if (layer.residual != kNoValue && network.value(layer.residual).dims != outputs->front().dims) {
      return invalid(fmt::format("{}: the residual is {} but the output {}", who,
                                 to_string(network.value(layer.residual).dims),
                                 to_string(outputs->front().dims)));
    }
    bool small = true;
    for (std::size_t i = 0; i < outputs->size(); ++i) {
      Value& value = network.value(layer.outputs[i]);
      value.dtype = (*outputs)[i].dtype;
      value.dims = (*outputs)[i].dims;
      small = small && volume(value.dims) <= kMaxKnownElements;
    }
    // Shape knows its answer from extents alone.
    if (small && (layer.op == OpType::kShape || (all_known && layer.residual == kNoValue))) {
      auto contents = reference::evaluate_known(layer, inputs, *outputs);
      if (!contents) return fail(contents.error().with_context(who));
      for (std::size_t i = 0; i < contents->size(); ++i) {
        known[static_cast<std::size_t>(layer.outputs[i])] =
            std::make_shared<const Constant>(std::move((*contents)[i]));
      }
    }
  }
  return known;
}

Result<> infer_shapes(NetworkDefinition& network, std::int64_t batch) {
  if (batch < 1 || batch > kMaxElements) {
    return invalid(fmt::format("batch is {}; it must be 1..{}", batch, kMaxElements));
  }
  FOVEA_TRY(infer_known_values(network, batch));
  return {};
}

}  // namespace fovea::engine
