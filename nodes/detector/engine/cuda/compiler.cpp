// In the network's order: what only moves elements becomes a view, the rest launches. Everything that
// nothing here takes is collected and told at once.
#include "nodes/detector/engine/cuda/compiler.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/detector/engine/cuda/launches.hpp"
#include "nodes/detector/engine/cuda/layout.hpp"
#include "nodes/detector/engine/program/strides.hpp"
#include "nodes/detector/engine/quantization/quantization.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cuda {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

struct Elementwise {
  MapOp op;
  float alpha = 0;
  float beta = 0;
};

// REQUIRES: known ends of a Clip.
std::optional<Elementwise> elementwise(const Layer& layer, const KnownValues& known) {
  const auto end = [&](std::size_t input, float fallback) {
    const bool given = input < layer.inputs.size() && layer.inputs[input] != kNoValue;
    return given ? known[index(layer.inputs[input])]->data<float>()[0] : fallback;
  };
  switch (layer.op) {
    case OpType::kSigmoid:
      return Elementwise{MapOp::kSigmoid};
    case OpType::kSilu:
      return Elementwise{MapOp::kSilu};
    case OpType::kRelu:
      return Elementwise{MapOp::kRelu};
    case OpType::kLeakyRelu:
      return Elementwise{MapOp::kLeakyRelu, layer.float_attribute("alpha", 0.01F)};
    case OpType::kHardSwish:
      return Elementwise{MapOp::kHardSwish};
    case OpType::kHardSigmoid:
      return Elementwise{MapOp::kHardSigmoid, layer.float_attribute("alpha", 0.2F),
                         layer.float_attribute("beta", 0.5F)};
    case OpType::kExp:
      return Elementwise{MapOp::kExp};
    case OpType::kLog:
      return Elementwise{MapOp::kLog};
    case OpType::kSqrt:
      return Elementwise{MapOp::kSqrt};
    case OpType::kNeg:
      return Elementwise{MapOp::kNeg};
    case OpType::kFloor:
      return Elementwise{MapOp::kFloor};
    case OpType::kErf:
      return Elementwise{MapOp::kErf};
    case OpType::kGelu:
      if (layer.string_attribute("approximate", "none") != "none") return std::nullopt;
      return Elementwise{MapOp::kGelu};
    case OpType::kTanh:
      return Elementwise{MapOp::kTanh};
    case OpType::kSin:
      return Elementwise{MapOp::kSin};
    case OpType::kCos:
      return Elementwise{MapOp::kCos};
    case OpType::kClip:
      return Elementwise{MapOp::kClip, end(1, -std::numeric_limits<float>::infinity()),
                         end(2, std::numeric_limits<float>::infinity())};
    case OpType::kAdd:
      return Elementwise{MapOp::kAdd};
    case OpType::kSub:
      return Elementwise{MapOp::kSub};
    case OpType::kMul:
      return Elementwise{MapOp::kMul};
    case OpType::kDiv:
      return Elementwise{MapOp::kDiv};
    case OpType::kPow:
      return Elementwise{MapOp::kPow};
    case OpType::kMin:
      return Elementwise{MapOp::kMin};
    case OpType::kMax:
      return Elementwise{MapOp::kMax};
    default:
      return std::nullopt;
  }
}

class Compiler {
 public:
  Compiler(const NetworkDefinition& network, const KnownValues& known,
           const CompileOptions& options)
      : network_(network),
        known_(known),
        layout_(network, known),
        launches_(program_, options),
        in_place_(network.layers.size()),
        split_(network.layers.size(), false),
        used_(network.values.size(), false) {}

  Result<Program> run() {
    place();
    find_uses();
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& layer = network_.layers[i];
      if (known_[index(layer.outputs[0])] != nullptr || !is_used(layer)) continue;
      FOVEA_ASSIGN(const std::string refusal, emit(i));
      if (!refusal.empty())
        refused_.push_back(fmt::format("{} ({}): {}", layer.name, to_string(layer.op), refusal));
    }
    if (!refused_.empty()) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("CUDA runs no {}", fmt::join(refused_, "; ")));
    }
    for (std::size_t i = 0; i < network_.outputs.size(); ++i) emit_output(i);
    program_.buffers = layout_.take_buffers();
    return std::move(program_);
  }

 private:
  const Dims& dims(ValueId id) const { return network_.value(id).dims; }
  const Constant* constant(const Layer& layer, std::size_t input) const {
    if (input >= layer.inputs.size() || layer.inputs[input] == kNoValue) return nullptr;
    return known_[index(layer.inputs[input])].get();
  }

  // Which values share buffers.
  void place() {
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& layer = network_.layers[i];
      if (layer.op == OpType::kSplit && moves_data(network_, layer))
        split_[i] = layout_.split(layer);
    }
    for (std::size_t i = network_.layers.size(); i-- > 0;) {
      const Layer& layer = network_.layers[i];
      in_place_[i].assign(layer.inputs.size(), false);
      if (layer.op == OpType::kConcat && moves_data(network_, layer)) {
        in_place_[i] = layout_.concat(layer);
      }
    }
  }

  void find_uses() {
    for (const ValueId id : network_.outputs) used_[index(id)] = true;
    for (std::size_t i = network_.layers.size(); i-- > 0;) {
      const Layer& layer = network_.layers[i];
      if (!is_used(layer)) continue;
      for (const ValueId id : layer.inputs) {
        if (id != kNoValue) used_[index(id)] = true;
      }
      if (layer.residual != kNoValue) used_[index(layer.residual)] = true;
    }
    for (std::size_t i = 0; i < network_.layers.size(); ++i) {
      for (const ValueId id : network_.layers[i].inputs) {
        if (id != kNoValue) readers_[id] += is_used(network_.layers[i]) ? 1 : 0;
      }
      if (network_.layers[i].residual != kNoValue) ++readers_[network_.layers[i].residual];
    }
  }
  bool is_used(const Layer& layer) const {
    return std::any_of(layer.outputs.begin(), layer.outputs.end(),
                       [&](ValueId id) { return used_[index(id)]; });
  }

  // Where a value lies, which may be inside another.
  Tensor tensor(ValueId id) {
    if (known_[index(id)] != nullptr) return launches_.constant(*known_[index(id)]);
    const auto view = views_.find(id);
    return view == views_.end() ? layout_.home(id) : view->second;
  }
  // As a picture: copied to its home where it is a view that is none.
  Tensor picture(ValueId id, const std::string& layer) {
    const Tensor found = tensor(id);
    if (is_picture(found)) return found;
    views_.erase(id);
    const Tensor home = layout_.home(id);
    if (is_picture(home)) {
      launches_.copy(layer, found, home);
      return home;
    }
    return temporary(id, found, layer);
  }
  // A picture of its own, for a value that lies elsewhere by choice.
  Tensor temporary(ValueId id, const Tensor& from, const std::string& layer) {
    const Tensor to = layout_.temporary(id);
    launches_.copy(layer, from, to);
    return to;
  }
  // Repeats where its extents are 1 or missing.
  Tensor broadcast(Tensor tensor, const Dims& extents) {
    const std::size_t missing = extents.size() - tensor.dims.size();
    Dims strides(extents.size(), 0);
    for (std::size_t i = 0; i < tensor.dims.size(); ++i) {
      if (tensor.dims[i] > 1) strides[missing + i] = tensor.strides[i];
    }
    tensor.dims = extents;
    tensor.strides = std::move(strides);
    return tensor;
  }

  // Where a layer's only output goes: home, or straight to the caller if nobody else reads it.
  Tensor destination(ValueId id) {
    if (readers_[id] == 0 && layout_.is_picture(id)) {
      const auto output = std::find(network_.outputs.begin(), network_.outputs.end(), id);
      const bool once = std::count(network_.outputs.begin(), network_.outputs.end(), id) == 1;
      if (output != network_.outputs.end() && once && is_map(id)) {
        const Tensor to =
            output_tensor(static_cast<std::size_t>(output - network_.outputs.begin()));
        written_.push_back(id);
        return to;
      }
    }
    return layout_.home(id);
  }
  // A network output that leaves as [H, W, C].
  bool is_map(ValueId id) const {
    return network_.head.spec.channels_last(network_.value(id).name) && dims(id).size() == 4;
  }
  Tensor output_tensor(std::size_t output) const {
    const ValueId id = network_.outputs[output];
    Tensor to;
    to.address = {Address::Space::kOutput, static_cast<std::int32_t>(output), 0};
    to.image = volume(dims(id)) * 4;
    to.dims = dims(id);
    to.strides =
        is_map(id) ? Dims{0, 1, dims(id)[3] * dims(id)[1], dims(id)[1]} : row_major(dims(id));
    return to;
  }
  void emit_output(std::size_t output) {
    const ValueId id = network_.outputs[output];
    if (std::find(written_.begin(), written_.end(), id) != written_.end()) return;
    launches_.copy(network_.value(id).name, tensor(id), output_tensor(output));
  }

  // Empty, or why not.
  Result<std::string> emit(std::size_t i) {
    const Layer& layer = network_.layers[i];
    for (const ValueId id : layer.outputs) {
      if (network_.value(id).dtype != DataType::kFloat32) return "computes integers";
      if (dims(id).size() > static_cast<std::size_t>(kMaxAxes)) return "too many axes";
    }
    if (layer.op != OpType::kConv &&
        (layer.activation != Activation::kNone || layer.residual != kNoValue)) {
      return "something is fused into it";
    }
    switch (layer.op) {
      case OpType::kImageInput:
        return emit_image(layer);
      case OpType::kConv:
        return emit_convolution(layer);
      case OpType::kMaxPool:
      case OpType::kAveragePool:
        return emit_pool(layer);
      case OpType::kGlobalAveragePool:
        return emit_reduce(layer, ReduceOp::kMean, {2, 3});
      case OpType::kReduceMean:
        return emit_reduce(layer, ReduceOp::kMean, reduced_axes(layer));
      case OpType::kReduceSum:
        return emit_reduce(layer, ReduceOp::kSum, reduced_axes(layer));
      case OpType::kReduceMax:
        return emit_reduce(layer, ReduceOp::kMax, reduced_axes(layer));
      case OpType::kReduceL2:
        return emit_reduce(layer, ReduceOp::kL2, reduced_axes(layer));
      case OpType::kSoftmax:
        return emit_softmax(layer);
      case OpType::kLayerNormalization:
        return emit_normalization(layer);
      case OpType::kMatMul:
        return emit_matmul(layer);
      case OpType::kResize:
        return emit_resize(layer);
      case OpType::kConcat:
        return emit_concat(layer, i);
      case OpType::kSplit:
        return emit_split(layer, i);
      case OpType::kSlice:
        return emit_slice(layer);
      case OpType::kTranspose:
        return emit_transpose(layer);
      case OpType::kFlatten:
      case OpType::kIdentity:
      case OpType::kReshape:
      case OpType::kSqueeze:
      case OpType::kUnsqueeze:
        return emit_reshape(layer);
      case OpType::kExpand:
        views_[layer.outputs[0]] = broadcast(tensor(layer.inputs[0]), dims(layer.outputs[0]));
        return {};
      default:
        return emit_elementwise(layer);
    }
  }

  Result<std::string> emit_image(const Layer& layer) {
    const Dims& extents = dims(layer.outputs[0]);
    Tensor image;
    image.address = {Address::Space::kInput, 0, 0};
    image.image = extents[1] * extents[2] * extents[3];
    image.scalar = Scalar::kByte;
    image.dims = extents;
    image.strides = {0, 1, extents[3] * extents[1], extents[1]};
    views_[layer.outputs[0]] = std::move(image);
    return {};
  }

  Result<std::string> emit_convolution(const Layer& layer) {
    const Constant* weights = constant(layer, 1);
    const bool has_bias = layer.inputs.size() > 2 && layer.inputs[2] != kNoValue;
    const Constant* bias = constant(layer, 2);
    if (weights == nullptr || (has_bias && bias == nullptr)) return "computed weights";
    if (dims(layer.inputs[0]).size() != 4) return "one axis of pixels";
    FOVEA_ASSIGN(const Window window,
                 resolve_window(layer, dims(layer.inputs[0])[2], dims(layer.inputs[0])[3],
                                {weights->dims[2], weights->dims[3]}));
    ConvolutionLaunch launch;
    launch.layer = &layer;
    launch.window = window;
    launch.groups = layer.int_attribute("group", 1);
    launch.weights = {weights->data<float>(), static_cast<std::size_t>(weights->size())};
    if (bias != nullptr)
      launch.bias = {bias->data<float>(), static_cast<std::size_t>(bias->size())};
    launch.x = picture(layer.inputs[0], layer.name);
    if (layer.residual != kNoValue) launch.residual = picture(layer.residual, layer.name);
    launch.y = destination(layer.outputs[0]);
    launches_.convolution(launch);
    return {};
  }

  Result<std::string> emit_pool(const Layer& layer) {
    if (layer.ints_attribute("dilations", {1, 1}) != std::vector<std::int64_t>{1, 1}) {
      return "dilations";
    }
    const ValueId input = layer.inputs[0];
    if (dims(input).size() != 4) return "one axis of pixels";
    const auto kernel = layer.ints_attribute("kernel_shape", {1, 1});
    FOVEA_ASSIGN(const Window window,
                 resolve_window(layer, dims(input)[2], dims(input)[3], {kernel[0], kernel[1]}));
    const Tensor x = picture(input, layer.name);
    const Tensor y = layout_.home(layer.outputs[0]);
    if (!is_picture(y) || x.scalar != y.scalar) return "its result is no picture";
    launches_.pool(layer, window, layer.op == OpType::kAveragePool,
                   layer.int_attribute("count_include_pad", 0) != 0, x, y);
    return {};
  }

  std::vector<std::size_t> reduced_axes(const Layer& layer) const {
    std::vector<std::int64_t> axes = known_ints(known_, layer, 1);
    if (axes.empty()) axes = layer.ints_attribute("axes", {});
    std::vector<std::size_t> result;
    const std::size_t rank = dims(layer.inputs[0]).size();
    for (const std::int64_t axis : axes) {
      result.push_back(
          static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis));
    }
    for (std::size_t axis = 0; axes.empty() && axis < rank; ++axis) result.push_back(axis);
    std::sort(result.begin(), result.end());
    return result;
  }

  Result<std::string> emit_reduce(const Layer& layer, ReduceOp op,
                                  const std::vector<std::size_t>& axes) {
    const Tensor from = tensor(layer.inputs[0]);
    Tensor to = layout_.home(layer.outputs[0]);
    // The result's strides by the input's axes, whether it kept them or not.
    Dims strides(from.dims.size(), 0);
    const bool kept = to.dims.size() == from.dims.size();
    for (std::size_t axis = 0, next = 0; axis < from.dims.size(); ++axis) {
      const bool reduced = std::find(axes.begin(), axes.end(), axis) != axes.end();
      if (kept) next = axis;
      if (reduced) continue;
      strides[axis] = to.strides[next++];
    }
    to.dims = from.dims;
    to.strides = std::move(strides);
    launches_.reduce(layer.name, op, from, to, axes);
    return {};
  }

  Result<std::string> emit_softmax(const Layer& layer) {
    const std::size_t rank = dims(layer.inputs[0]).size();
    FOVEA_ASSIGN(const std::size_t axis, resolve_axis(layer.int_attribute("axis", -1), rank));
    std::vector<std::size_t> axes;
    const std::size_t end = layer.int_attribute("flatten", 0) != 0 ? rank : axis + 1;
    for (std::size_t i = axis; i < end; ++i) axes.push_back(i);
    launches_.reduce(layer.name, ReduceOp::kSoftmax, tensor(layer.inputs[0]),
                     layout_.home(layer.outputs[0]), axes);
    return {};
  }

  Result<std::string> emit_normalization(const Layer& layer) {
    if (layer.outputs.size() > 1 &&
        std::any_of(layer.outputs.begin() + 1, layer.outputs.end(),
                    [&](ValueId id) { return id != kNoValue && used_[index(id)]; })) {
      return "its mean is asked for";
    }
    const std::size_t rank = dims(layer.inputs[0]).size();
    FOVEA_ASSIGN(const std::size_t axis, resolve_axis(layer.int_attribute("axis", -1), rank));
    std::vector<std::size_t> axes;
    std::int64_t row = 1;
    for (std::size_t i = axis; i < rank; ++i) {
      axes.push_back(i);
      row *= dims(layer.inputs[0])[i];
    }
    std::optional<Address> factors[2];
    for (std::size_t i = 0; i < 2; ++i) {
      const Constant* values = constant(layer, i + 1);
      const bool given = i + 1 < layer.inputs.size() && layer.inputs[i + 1] != kNoValue;
      if (given && (values == nullptr || values->size() != row)) return "computed scales";
      if (given) factors[i] = launches_.constant(*values).address;
    }
    launches_.reduce(layer.name, ReduceOp::kNormalize, tensor(layer.inputs[0]),
                     layout_.home(layer.outputs[0]), axes, factors[0], factors[1],
                     layer.float_attribute("epsilon", 1e-5F));
    return {};
  }

  Result<std::string> emit_matmul(const Layer& layer) {
    Tensor a = tensor(layer.inputs[0]);
    Tensor b = tensor(layer.inputs[1]);
    const Tensor to = layout_.home(layer.outputs[0]);
    if (a.dims.size() < 2 || b.dims.size() < 2) return "vectors";
    const auto batch = [&](Tensor side) {
      Dims extents(to.dims.begin(), to.dims.end() - 2);
      const Dims matrix(side.dims.end() - 2, side.dims.end());
      const Dims strides(side.strides.end() - 2, side.strides.end());
      side.dims.resize(side.dims.size() - 2);
      side.strides.resize(side.strides.size() - 2);
      side = broadcast(std::move(side), extents);
      side.dims.insert(side.dims.end(), matrix.begin(), matrix.end());
      side.strides.insert(side.strides.end(), strides.begin(), strides.end());
      return side;
    };
    launches_.multiply(layer.name, batch(std::move(a)), batch(std::move(b)), to);
    return {};
  }

  Result<std::string> emit_resize(const Layer& layer) {
    const ValueId input = layer.inputs[0];
    const ValueId output = layer.outputs[0];
    if (dims(input).size() != 4 || dims(output)[1] != dims(input)[1])
      return "other axes than y and x";
    const Constant* scales = constant(layer, 2);
    std::span<const float> factors;
    if (scales != nullptr && scales->dtype == DataType::kFloat32) {
      factors = {scales->data<float>(), static_cast<std::size_t>(scales->size())};
    }
    const std::vector<std::int64_t> sizes = known_ints(known_, layer, 3);
    FOVEA_ASSIGN(const ResizeGeometry geometry,
                 resolve_resize(layer, dims(input),
                                sizes.empty() ? factors : std::span<const float>(), sizes));
    const Tensor x = picture(input, layer.name);
    const Tensor y = layout_.home(output);
    if (!is_picture(y) || x.scalar != y.scalar) return "its result is no picture";
    launches_.resize(layer, geometry, x, y);
    return {};
  }

  Result<std::string> emit_concat(const Layer& layer, std::size_t i) {
    FOVEA_ASSIGN(const std::size_t axis,
                 resolve_axis(layer.int_attribute("axis", 0), dims(layer.outputs[0]).size()));
    Tensor to = layout_.home(layer.outputs[0]);
    for (std::size_t part = 0; part < layer.inputs.size(); ++part) {
      const ValueId id = layer.inputs[part];
      const Tensor from = tensor(id);
      to.dims = from.dims;
      // In place unless it is a view of something else, whatever its home would be.
      const bool there = in_place_[i][part] && views_.find(id) == views_.end();
      if (!there && volume(from.dims) > 0) launches_.copy(layer.name, from, to);
      to.address.offset += from.dims[axis] * to.strides[axis] * size_of(to.scalar);
    }
    return {};
  }

  Result<std::string> emit_split(const Layer& layer, std::size_t i) {
    // Its parts' homes lie in the input's home: nothing to do if the input does.
    if (split_[i] && views_.find(layer.inputs[0]) == views_.end()) return {};
    FOVEA_ASSIGN(const std::size_t axis,
                 resolve_axis(layer.int_attribute("axis", 0), dims(layer.inputs[0]).size()));
    Tensor part = tensor(layer.inputs[0]);
    for (const ValueId id : layer.outputs) {
      part.dims = dims(id);
      views_[id] = part;
      part.address.offset += dims(id)[axis] * part.strides[axis] * size_of(part.scalar);
    }
    return {};
  }

  Result<std::string> emit_slice(const Layer& layer) {
    Tensor part = tensor(layer.inputs[0]);
    FOVEA_ASSIGN(
        const auto axes,
        resolve_slice(part.dims, known_ints(known_, layer, 1), known_ints(known_, layer, 2),
                      known_ints(known_, layer, 3), known_ints(known_, layer, 4)));
    for (std::size_t i = 0; i < axes.size(); ++i) {
      part.address.offset += axes[i].start * part.strides[i] * size_of(part.scalar);
      part.strides[i] *= axes[i].step;
      part.dims[i] = axes[i].count;
    }
    if (volume(part.dims) == 0) return "an empty result";
    views_[layer.outputs[0]] = std::move(part);
    return {};
  }

  Result<std::string> emit_transpose(const Layer& layer) {
    const Tensor from = tensor(layer.inputs[0]);
    const std::size_t rank = from.dims.size();
    std::vector<std::int64_t> reversed(rank);
    for (std::size_t i = 0; i < rank; ++i) reversed[i] = static_cast<std::int64_t>(rank - 1 - i);
    const auto order = layer.ints_attribute("perm", reversed);
    Tensor to = from;
    for (std::size_t i = 0; i < rank; ++i) {
      FOVEA_ASSIGN(const std::size_t axis, resolve_axis(order[i], rank));
      to.dims[i] = from.dims[axis];
      to.strides[i] = from.strides[axis];
    }
    views_[layer.outputs[0]] = std::move(to);
    return {};
  }

  // A view of the input if its memory allows that, else a copy.
  Result<std::string> emit_reshape(const Layer& layer) {
    Tensor from = tensor(layer.inputs[0]);
    const Dims& to_dims = dims(layer.outputs[0]);
    if (auto strides = reshape_strides(from.dims, from.strides, to_dims)) {
      from.dims = to_dims;
      from.strides = std::move(*strides);
      views_[layer.outputs[0]] = std::move(from);
      return {};
    }
    const auto extents = common_extents(from.dims, to_dims);
    if (!extents || extents->size() > static_cast<std::size_t>(kMaxAxes)) {
      return fmt::format("{} as {}", to_string(from.dims), to_string(to_dims));
    }
    Tensor to = layout_.home(layer.outputs[0]);
    from.strides = reshape_strides(from.dims, from.strides, *extents).value();
    auto to_strides = reshape_strides(to.dims, to.strides, *extents);
    if (!to_strides) {  // a picture's home cannot be cut like that: a plain one can
      to = layout_.temporary_plain(layer.outputs[0]);
      views_[layer.outputs[0]] = to;
      to_strides = reshape_strides(to.dims, to.strides, *extents);
    }
    from.dims = *extents;
    to.dims = *extents;
    to.strides = to_strides.value();
    launches_.copy(layer.name, from, to);
    return {};
  }

  Result<std::string> emit_elementwise(const Layer& layer) {
    if (layer.op == OpType::kClip) {
      for (std::size_t i = 1; i < layer.inputs.size(); ++i) {
        if (layer.inputs[i] != kNoValue && constant(layer, i) == nullptr) return "computed ends";
      }
    }
    const auto op = elementwise(layer, known_);
    if (!op) return "no kernel";
    const bool binary = op->op >= MapOp::kAdd;
    if (binary && layer.inputs.size() != 2) return "more than two inputs";
    for (std::size_t i = 0; i < (binary ? 2U : 1U); ++i) {
      if (network_.value(layer.inputs[i]).dtype != DataType::kFloat32) return "integers";
    }
    const Tensor to = destination(layer.outputs[0]);
    std::optional<Tensor> other;
    if (binary) other = broadcast(tensor(layer.inputs[1]), to.dims);
    launches_.map(layer.name, op->op, broadcast(tensor(layer.inputs[0]), to.dims), other, to,
                  op->alpha, op->beta);
    return {};
  }

  const NetworkDefinition& network_;
  const KnownValues& known_;
  Layout layout_;
  Program program_;
  Launches launches_;
  std::vector<std::vector<bool>> in_place_;  // by layer, by part of a concat
  std::vector<bool> split_;                  // by layer: its parts lie in its input
  std::vector<bool> used_;
  std::map<ValueId, int> readers_;
  std::map<ValueId, Tensor> views_;  // of what lies in another value's memory
  std::vector<ValueId> written_;     // outputs that their layer wrote
  std::vector<std::string> refused_;
};

}  // namespace

Result<Program> compile(NetworkDefinition network, const CompileOptions& options) {
  FOVEA_ASSIGN(const KnownValues known, infer_known_values(network, 1));
  return Compiler(network, known, options).run();
}

}  // namespace fovea::engine::cuda
