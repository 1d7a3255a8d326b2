#include "nodes/detector/engine/cpu/native/tensor_steps.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/grid_sample.hpp"
#include "nodes/detector/engine/cpu/native/moved_view.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::cpu::native {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

std::vector<float> floats_of(const Constant& constant) {
  return {constant.data<float>(), constant.data<float>() + constant.size()};
}

std::optional<kernels::MapOp> map_op(const KnownValues& known, const Layer& layer) {
  using kernels::MapOp;
  switch (layer.op) {
    case OpType::kSigmoid:
      return MapOp::kSigmoid;
    case OpType::kSilu:
      return MapOp::kSilu;
    case OpType::kRelu:
      return MapOp::kRelu;
    case OpType::kErf:
      return MapOp::kErf;
    case OpType::kGelu:
      return layer.string_attribute("approximate", "none") == "none" ? std::optional(MapOp::kGelu)
                                                                     : std::nullopt;
    case OpType::kAdd:
      return MapOp::kAdd;
    case OpType::kSub:
      return MapOp::kSub;
    case OpType::kMul:
      return MapOp::kMul;
    case OpType::kDiv:
      return MapOp::kDiv;
    case OpType::kPow: {  // squares only
      const auto& exponent = known[index(layer.inputs[1])];
      const bool square = exponent && exponent->dtype == DataType::kFloat32 &&
                          exponent->size() == 1 && *exponent->data<float>() == 2.0F;
      return square ? std::optional(MapOp::kMul) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

bool is_tensor_layer(const NetworkDefinition& network, const KnownValues& known,
                     const Layer& layer) {
  const auto is_float = [&](ValueId id) {
    const Value& value = network.value(id);
    return value.dtype == DataType::kFloat32 && !value.dims.empty() && volume(value.dims) > 0;
  };
  const auto computed = [&](std::size_t input) {
    return known[index(layer.inputs[input])] == nullptr;
  };
  if (layer.activation != Activation::kNone || layer.residual != kNoValue || layer.inputs.empty() ||
      layer.inputs[0] == kNoValue || !is_float(layer.inputs[0]) ||
      !std::all_of(layer.outputs.begin(), layer.outputs.end(), is_float)) {
    return false;
  }
  switch (layer.op) {
    case OpType::kFlatten:
    case OpType::kIdentity:
    case OpType::kReshape:
    case OpType::kSqueeze:
    case OpType::kUnsqueeze:
    case OpType::kSplit:
    case OpType::kTranspose:
      return computed(0);
    case OpType::kSoftmax:
      return computed(0) && layer.int_attribute("flatten", 0) == 0;
    case OpType::kSlice: {
      const auto steps = known_ints(known, layer, 4);
      return computed(0) && std::all_of(steps.begin(), steps.end(), [](auto s) { return s > 0; });
    }
    case OpType::kConcat:
      return std::all_of(layer.inputs.begin(), layer.inputs.end(), [&](ValueId id) {
        return id != kNoValue && known[index(id)] == nullptr && is_float(id);
      });
    case OpType::kMatMul: {
      const std::size_t right = network.value(layer.inputs[1]).dims.size();
      return computed(0) && is_float(layer.inputs[1]) && right >= 2 &&
             network.value(layer.inputs[0]).dims.size() >= 2 && (computed(1) || right == 2);
    }
    case OpType::kGemm: {
      const bool biased = layer.inputs.size() > 2 && layer.inputs[2] != kNoValue;
      const bool row = !biased || (!computed(2) && is_float(layer.inputs[2]) &&
                                   known[index(layer.inputs[2])]->size() ==
                                       network.value(layer.outputs[0]).dims[1]);
      return computed(0) && !computed(1) && row && layer.int_attribute("transA", 0) == 0;
    }
    case OpType::kLayerNormalization: {
      const auto rank = static_cast<std::int64_t>(network.value(layer.inputs[0]).dims.size());
      const std::int64_t axis = layer.int_attribute("axis", -1);
      const bool biased = layer.inputs.size() > 2 && layer.inputs[2] != kNoValue;
      return computed(0) && !computed(1) && (!biased || !computed(2)) &&
             (axis == -1 || axis == rank - 1);
    }
    case OpType::kGridSample:
      return computed(0) && computed(1);
    default:
      return map_op(known, layer).has_value() &&
             (layer.inputs.size() == 1 || layer.op == OpType::kPow ||
              network.value(layer.inputs[1]).dtype == DataType::kFloat32);
  }
}

TensorSteps::View TensorSteps::home(ValueId id) {
  const Home home = storage_.home(id);
  if (!storage_.is_picture(id))
    return {home.location, {DataType::kFloat32, {}, row_major(dims(id))}};
  const kernels::Surface& surface = home.surface;
  return {home.location,
          {surface.type, surface.grid, {0, 1, surface.row_stride, surface.pixel_stride}}};
}

TensorSteps::View TensorSteps::view(ValueId id) {
  const auto found = views_.find(id);
  return found == views_.end() ? home(id) : found->second;
}

Result<> TensorSteps::settle(ValueId id) {
  const auto found = views_.find(id);
  if (found == views_.end()) return {};
  const View from = found->second;
  views_.erase(found);
  return emit_copy(network_.value(id).name, dims(id), from, home(id));
}

Result<bool> TensorSteps::emit(const Layer& layer) {
  const auto done = [](Result<> result) -> Result<bool> {
    if (!result) return tl::unexpected(result.error());
    return true;
  };
  switch (layer.op) {
    case OpType::kFlatten:
    case OpType::kIdentity:
    case OpType::kReshape:
    case OpType::kSqueeze:
    case OpType::kUnsqueeze:
      return emit_reshape(layer);
    case OpType::kTranspose:
      return done(emit_transpose(layer));
    case OpType::kSplit:
      return done(emit_split(layer));
    case OpType::kSlice:
      return done(emit_slice(layer));
    case OpType::kConcat:
      return done(emit_concat(layer));
    case OpType::kSoftmax:
      return done(emit_softmax(layer));
    case OpType::kMatMul:
      return done(emit_matmul(layer));
    case OpType::kGemm:
      return done(emit_gemm(layer));
    case OpType::kLayerNormalization:
      return done(emit_layer_normalization(layer));
    case OpType::kGridSample:
      return emit_grid_sample(layer);
    default:
      return done(emit_map(layer, *map_op(known_, layer)));
  }
}

void TensorSteps::add(Step step, std::unique_ptr<const kernels::Kernel> kernel,
                      std::string_view what) {
  step.implementation = fmt::format("{} {}", kernel->implementation(), what);
  step.kernel = std::move(kernel);
  program_.steps.push_back(std::move(step));
}

Result<> TensorSteps::emit_copy(const std::string& name, const Dims& extents, const View& from,
                                const View& to) {
  FOVEA_ASSIGN(auto kernel, kernels::create_map({.op = kernels::MapOp::kCopy,
                                                 .extents = extents,
                                                 .operands = {{from.tensor}},
                                                 .to = to.tensor},
                                                features_));
  Step step;
  step.layer = name;
  step.sources = {from.location};
  step.destinations = {to.location};
  add(std::move(step), std::move(kernel), "copy");
  return {};
}

Result<kernels::MapOperand> TensorSteps::operand(ValueId id, const Dims& extents, Step& step) {
  const auto& known = known_[index(id)];
  const Dims& own = known ? known->dims : dims(id);
  kernels::MapOperand result;
  Dims strides;
  if (known) {
    strides = row_major(own);
    result.constant.assign(known->data<float>(), known->data<float>() + known->size());
  } else {
    const View from = view(id);
    result.view = from.tensor;
    strides = from.tensor.strides;
    step.sources.push_back(from.location);
  }
  const std::size_t missing = extents.size() - own.size();
  result.view.strides.assign(extents.size(), 0);
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (own[i] > 1) result.view.strides[missing + i] = strides[i];
  }
  return result;
}

Result<> TensorSteps::emit_map(const Layer& layer, kernels::MapOp op) {
  const ValueId output = layer.outputs[0];
  Step step;
  step.layer = layer.name;
  kernels::MapSpec spec{.op = op, .extents = dims(output), .operands = {}, .to = {}};
  const ValueId second = layer.op == OpType::kPow ? layer.inputs[0] : layer.inputs.back();
  FOVEA_ASSIGN(auto first, operand(layer.inputs[0], spec.extents, step));
  spec.operands.push_back(std::move(first));
  if (kernels::is_binary(op)) {
    FOVEA_ASSIGN(auto other, operand(second, spec.extents, step));
    spec.operands.push_back(std::move(other));
  }
  const View to = home(output);
  spec.to = to.tensor;
  step.destinations = {to.location};
  FOVEA_ASSIGN(auto kernel, kernels::create_map(spec, features_));
  add(std::move(step), std::move(kernel), to_string(layer.op));
  return {};
}

Result<> TensorSteps::emit_softmax(const Layer& layer) {
  const View from = view(layer.inputs[0]);
  const View to = home(layer.outputs[0]);
  const Dims& extents = dims(layer.inputs[0]);
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(layer.int_attribute("axis", -1), extents.size()));
  FOVEA_ASSIGN(
      auto kernel,
      kernels::create_softmax(
          {.extents = extents, .axis = axis, .from = from.tensor, .to = to.tensor}, features_));
  Step step;
  step.layer = layer.name;
  step.sources = {from.location};
  step.destinations = {to.location};
  add(std::move(step), std::move(kernel), "Softmax");
  return {};
}

Result<> TensorSteps::emit_matmul(const Layer& layer) {
  const Dims& out = dims(layer.outputs[0]);
  const Dims& left = dims(layer.inputs[0]);
  Step step;
  step.layer = layer.name;
  kernels::MatMulSpec spec;
  spec.batch.assign(out.begin(), out.end() - 2);
  spec.rows = out[out.size() - 2];
  spec.columns = out.back();
  spec.depth = left.back();
  const auto side = [&](ValueId id) -> Result<kernels::TensorView> {
    FOVEA_ASSIGN(auto from, operand(id, out, step));
    return std::move(from.view);
  };
  FOVEA_ASSIGN(spec.a, side(layer.inputs[0]));
  if (const auto& weights = known_[index(layer.inputs[1])]) {
    spec.weights = floats_of(*weights);
    spec.b.strides.assign(out.size(), 0);
    std::copy_n(row_major(weights->dims).begin(), 2, spec.b.strides.end() - 2);
  } else {
    FOVEA_ASSIGN(spec.b, side(layer.inputs[1]));
  }
  const View to = home(layer.outputs[0]);
  spec.to = to.tensor;
  step.destinations = {to.location};
  FOVEA_ASSIGN(auto kernel, kernels::create_matmul(spec, features_));
  add(std::move(step), std::move(kernel), "MatMul");
  return {};
}

Result<> TensorSteps::emit_gemm(const Layer& layer) {
  const Dims& out = dims(layer.outputs[0]);
  const Constant& weights = *known_[index(layer.inputs[1])];
  const bool transposed = layer.int_attribute("transB", 0) != 0;
  Step step;
  step.layer = layer.name;
  kernels::MatMulSpec spec;
  spec.rows = out[0];
  spec.columns = out[1];
  spec.depth = weights.dims[transposed ? 1 : 0];
  const View from = view(layer.inputs[0]);
  spec.a = from.tensor;
  step.sources = {from.location};
  spec.weights = floats_of(weights);
  spec.b.strides = row_major(weights.dims);
  if (transposed) std::swap(spec.b.strides[0], spec.b.strides[1]);
  if (layer.inputs.size() > 2 && layer.inputs[2] != kNoValue) {
    spec.bias = floats_of(*known_[index(layer.inputs[2])]);
  }
  const float alpha = layer.float_attribute("alpha", 1);
  const float beta = layer.float_attribute("beta", 1);
  for (float& weight : spec.weights) weight *= alpha;
  for (float& value : spec.bias) value *= beta;
  const View to = home(layer.outputs[0]);
  spec.to = to.tensor;
  step.destinations = {to.location};
  FOVEA_ASSIGN(auto kernel, kernels::create_matmul(spec, features_));
  add(std::move(step), std::move(kernel), "Gemm");
  return {};
}

Result<> TensorSteps::emit_layer_normalization(const Layer& layer) {
  const View from = view(layer.inputs[0]);
  const View to = home(layer.outputs[0]);
  kernels::LayerNormalizationSpec spec{.extents = dims(layer.inputs[0]),
                                       .from = from.tensor,
                                       .to = to.tensor,
                                       .scale = floats_of(*known_[index(layer.inputs[1])]),
                                       .bias = {},
                                       .epsilon = layer.float_attribute("epsilon", 1e-5F)};
  if (layer.inputs.size() > 2 && layer.inputs[2] != kNoValue) {
    spec.bias = floats_of(*known_[index(layer.inputs[2])]);
  }
  FOVEA_ASSIGN(auto kernel, kernels::create_layer_normalization(spec, features_));
  Step step;
  step.layer = layer.name;
  step.sources = {from.location};
  step.destinations = {to.location};
  add(std::move(step), std::move(kernel), "LayerNormalization");
  return {};
}

// False for maps of 8 or 16 bits.
Result<bool> TensorSteps::emit_grid_sample(const Layer& layer) {
  const Dims& picture = dims(layer.inputs[0]);
  const Dims& out = dims(layer.outputs[0]);
  const View from = view(layer.inputs[0]);
  const View grid = view(layer.inputs[1]);
  const View to = home(layer.outputs[0]);
  const bool floats = from.tensor.type == DataType::kFloat32 &&
                      grid.tensor.type == DataType::kFloat32 &&
                      to.tensor.type == DataType::kFloat32;
  if (!floats) return false;
  const std::string padding = layer.string_attribute("padding_mode", "zeros");
  kernels::GridSampleSpec spec{.batch = picture[0],
                               .channels = picture[1],
                               .height = picture[2],
                               .width = picture[3],
                               .out_height = out[2],
                               .out_width = out[3],
                               .nearest = layer.string_attribute("mode", "linear") == "nearest",
                               .align_corners = layer.int_attribute("align_corners", 0) != 0,
                               .padding = padding == "border" ? kernels::SamplePadding::kBorder
                                          : padding == "reflection"
                                              ? kernels::SamplePadding::kReflection
                                              : kernels::SamplePadding::kZeros,
                               .from = from.tensor,
                               .grid = grid.tensor,
                               .to = to.tensor};
  FOVEA_ASSIGN(auto kernel, kernels::create_grid_sample(spec, features_));
  Step step;
  step.layer = layer.name;
  step.sources = {from.location, grid.location};
  step.destinations = {to.location};
  add(std::move(step), std::move(kernel), "GridSample");
  return true;
}

Result<> TensorSteps::emit_concat(const Layer& layer) {
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(layer.int_attribute("axis", 0), dims(layer.outputs[0]).size()));
  View to = home(layer.outputs[0]);
  for (const ValueId part : layer.inputs) {
    FOVEA_TRY(emit_copy(layer.name, dims(part), view(part), to));
    to.location.offset +=
        dims(part)[axis] * to.tensor.strides[axis] * kernels::element_bytes(to.tensor.type);
  }
  return {};
}

// A view of the input if its memory allows that. Else a copy, axis by axis of what cuts both
// shapes.
Result<bool> TensorSteps::emit_reshape(const Layer& layer) {
  const ValueId input = layer.inputs[0];
  const ValueId output = layer.outputs[0];
  View from = view(input);
  if (auto strides = reshape_strides(dims(input), from.tensor.strides, dims(output))) {
    from.tensor.strides = std::move(*strides);
    views_[output] = std::move(from);
    return true;
  }
  const auto extents = common_extents(dims(input), dims(output));
  if (!extents || extents->size() > kMaxRank) return false;
  View to = home(output);
  from.tensor.strides = reshape_strides(dims(input), from.tensor.strides, *extents).value();
  to.tensor.strides = reshape_strides(dims(output), to.tensor.strides, *extents).value();
  FOVEA_TRY(emit_copy(layer.name, *extents, from, to));
  return true;
}

Result<> TensorSteps::emit_transpose(const Layer& layer) {
  const View from = view(layer.inputs[0]);
  const std::size_t rank = from.tensor.strides.size();
  std::vector<std::int64_t> reversed(rank);
  for (std::size_t i = 0; i < rank; ++i) reversed[i] = static_cast<std::int64_t>(rank - 1 - i);
  const auto order = layer.ints_attribute("perm", reversed);
  View to = from;
  for (std::size_t i = 0; i < rank; ++i) {
    FOVEA_ASSIGN(const std::size_t axis, resolve_axis(order[i], rank));
    to.tensor.strides[i] = from.tensor.strides[axis];
  }
  views_[layer.outputs[0]] = std::move(to);
  return {};
}

Result<> TensorSteps::emit_split(const Layer& layer) {
  View part = view(layer.inputs[0]);
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(layer.int_attribute("axis", 0), dims(layer.inputs[0]).size()));
  for (const ValueId id : layer.outputs) {
    views_[id] = part;
    part.location.offset +=
        dims(id)[axis] * part.tensor.strides[axis] * kernels::element_bytes(part.tensor.type);
  }
  return {};
}

Result<> TensorSteps::emit_slice(const Layer& layer) {
  View part = view(layer.inputs[0]);
  FOVEA_ASSIGN(const auto axes,
               resolve_slice(dims(layer.inputs[0]), known_ints(known_, layer, 1),
                             known_ints(known_, layer, 2), known_ints(known_, layer, 3),
                             known_ints(known_, layer, 4)));
  for (std::size_t i = 0; i < axes.size(); ++i) {
    part.location.offset +=
        axes[i].start * part.tensor.strides[i] * kernels::element_bytes(part.tensor.type);
    part.tensor.strides[i] *= axes[i].step;
  }
  views_[layer.outputs[0]] = std::move(part);
  return {};
}

}  // namespace fovea::engine::cpu::native
