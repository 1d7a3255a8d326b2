// The ordered lists of implementations. Each try_ function either fills the choice and the forms of
// the layer's outputs, or says why not.
#include "nodes/detector/engine/cpu/onednn/choice.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::cpu::onednn {

namespace {

// Up to this many channels a convolution reads planar pictures faster than blocked ones.
constexpr std::int64_t kMaxPlanarChannels = 4;

class Chooser {
 public:
  Chooser(const NetworkDefinition& network, std::int64_t block) : network_(network), block_(block) {
    result_.values.resize(network.values.size());
    readers_.resize(network.values.size());
    for (std::size_t id = 0; id < network.values.size(); ++id) {
      const Value& value = network.values[id];
      Form& form = result_.values[id];
      form.planar = true;
      form.blockable = !value.constant && value.dtype == DataType::kFloat32 &&
                       value.dims.size() == 4 && value.dims[0] == 1 && volume(value.dims) > 0;
      if (form.blockable) form.layout = ChannelLayout::padded(value.dims[1], block);
    }
    for (const Layer& layer : network.layers) {
      for (const ValueId input : layer.inputs) {
        if (input != kNoValue) readers_[static_cast<std::size_t>(input)].push_back(&layer);
      }
    }
  }

  Choices run() {
    for (const Layer& layer : network_.layers) result_.layers.push_back(choose_for(layer));
    return std::move(result_);
  }

 private:
  using Attempt = Result<> (Chooser::*)(const Layer&, Choice&);

  static std::vector<Attempt> implementations(OpType op) {
    switch (op) {
      case OpType::kImageInput:
        return {&Chooser::try_image};
      case OpType::kConv:
        return {&Chooser::try_convolution};
      case OpType::kMaxPool:
        return {&Chooser::try_max_pool};
      case OpType::kResize:
        return {&Chooser::try_resize};
      case OpType::kAdd:
        return {&Chooser::try_add};
      case OpType::kConcat:
        return {&Chooser::try_concat};
      case OpType::kSplit:
        return {&Chooser::try_split};
      default:
        return {};
    }
  }

  Choice choose_for(const Layer& layer) {
    std::vector<std::string> reasons;
    for (const Attempt attempt : implementations(layer.op)) {
      Choice choice;
      auto taken = (this->*attempt)(layer, choice);
      if (taken) {
        choice.declined = std::move(reasons);
        return choice;
      }
      reasons.push_back(taken.error().message);
    }
    if (reasons.empty())
      reasons.emplace_back("no blocked implementation of " + std::string(to_string(layer.op)));
    Choice choice;
    choice.declined = std::move(reasons);
    for (const ValueId input : layer.inputs) {
      if (input != kNoValue && !network_.value(input).constant) choice.inputs.push_back(input);
    }
    if (layer.residual != kNoValue) choice.inputs.push_back(layer.residual);
    return choice;
  }

  static tl::unexpected<Error> declined(std::string reason) {
    return fail(ErrorCode::kUnsupported, std::move(reason));
  }

  // REQUIRES: id is not kNoValue. Shape inference has refused layers without their required inputs.
  Form& form(ValueId id) { return result_.values[static_cast<std::size_t>(id)]; }
  const Dims& dims(ValueId id) const { return network_.value(id).dims; }
  const Constant* constant(const Layer& layer, std::size_t index) const {
    if (index >= layer.inputs.size() || layer.inputs[index] == kNoValue) return nullptr;
    return network_.value(layer.inputs[index]).constant.get();
  }

  void set_output(ValueId id, ChannelLayout layout) {
    form(id).planar = false;
    form(id).layout = std::move(layout);
  }

  // Blocked in, blocked out, nothing fused: what the native loops need.
  Result<> require_plain_layer(const Layer& layer) {
    if (layer.activation != Activation::kNone || layer.residual != kNoValue) {
      return declined("carries a fused activation or residual");
    }
    for (const ValueId output : layer.outputs) {
      if (!form(output).blockable) return declined("output is not f32 [1, C, H, W]");
    }
    return {};
  }

  Result<> try_image(const Layer& layer, Choice& choice) {
    FOVEA_TRY(require_plain_layer(layer));
    const Dims& from = dims(layer.inputs[0]);
    const bool is_input = std::find(network_.inputs.begin(), network_.inputs.end(),
                                    layer.inputs[0]) != network_.inputs.end();
    if (!is_input || from.size() != 4 || from[0] != 1 || from[3] != 3 ||
        network_.value(layer.inputs[0]).dtype != DataType::kUint8) {
      return declined("does not read the network's u8 [1, H, W, 3] input");
    }
    choice.path = Choice::Path::kImage;
    return {};
  }

  Result<> try_convolution(const Layer& layer, Choice& choice) {
    const ValueId input = layer.inputs[0];
    const ValueId output = layer.outputs[0];
    const Constant* weights = constant(layer, 1);
    if (!form(input).blockable || !form(output).blockable) return declined("not f32 [1, C, H, W]");
    if (weights == nullptr || weights->dtype != DataType::kFloat32 || weights->dims.size() != 4) {
      return declined("weights are not a constant f32 [O, I, h, w]");
    }
    const Constant* bias = constant(layer, 2);
    if (layer.inputs.size() > 2 && layer.inputs[2] != kNoValue &&
        (bias == nullptr || bias->dtype != DataType::kFloat32 ||
         bias->size() != weights->dims[0])) {
      return declined("bias is not a constant f32 [O]");
    }
    if (layer.residual != kNoValue && dims(layer.residual) != dims(output)) {
      return declined("residual is not of the output's shape");
    }
    if (layer.residual != kNoValue && !form(layer.residual).blockable) {
      return declined("residual is not a computed f32 [1, C, H, W]");
    }
    const std::int64_t channels = dims(input)[1];
    ConvolutionSpec spec;
    spec.groups = layer.int_attribute("group", 1);
    if (spec.groups != 1 && (spec.groups != channels || dims(output)[1] != channels)) {
      return declined(fmt::format("{} groups of {} channels; only 1 group or depthwise is blocked",
                                  spec.groups, channels));
    }
    FOVEA_ASSIGN(spec.window, resolve_window(layer, dims(input)[2], dims(input)[3],
                                             {weights->dims[2], weights->dims[3]}));
    spec.weights = weights;
    spec.bias = bias;
    spec.activation = layer.activation;
    spec.activation_alpha = layer.activation_alpha;
    spec.residual = layer.residual != kNoValue;
    spec.planar_source = form(input).planar && channels <= kMaxPlanarChannels && spec.groups == 1;
    spec.source = spec.planar_source ? ChannelLayout::padded(channels, 1) : form(input).layout;
    spec.target = output_layout(layer, spec.groups != 1);
    if (spec.groups != 1 && spec.residual && form(layer.residual).layout != spec.target) {
      return declined("residual lies otherwise than the depthwise output");
    }
    FOVEA_ASSIGN(choice.kernel, make_convolution(spec, block_));
    choice.path = Choice::Path::kKernel;
    choice.planar_source = spec.planar_source;
    choice.inputs = {input};
    if (spec.residual) choice.inputs.push_back(layer.residual);
    set_output(output, std::move(spec.target));
    return {};
  }

  // A convolution may order its output channels as it likes: as its residual lies, else so that a
  // Split that reads it falls on block boundaries.
  ChannelLayout output_layout(const Layer& layer, bool depthwise) {
    if (depthwise) return form(layer.inputs[0]).layout;
    if (layer.residual != kNoValue) return form(layer.residual).layout;
    const ValueId output = layer.outputs[0];
    for (const Layer* reader : readers_[static_cast<std::size_t>(output)]) {
      if (reader->op != OpType::kSplit || !splits_channels(*reader)) continue;
      std::vector<std::int64_t> sizes;
      for (const ValueId part : reader->outputs) sizes.push_back(dims(part)[1]);
      return ChannelLayout::padded(sizes, block_);
    }
    return form(output).layout;
  }

  Result<> try_max_pool(const Layer& layer, Choice& choice) {
    FOVEA_TRY(require_plain_layer(layer));
    const ValueId input = layer.inputs[0];
    if (!form(input).blockable || layer.outputs.size() != 1)
      return declined("not f32 [1, C, H, W]");
    const auto kernel = layer.ints_attribute("kernel_shape", {});
    if (kernel.size() != 2) return declined("window is not two-dimensional");
    FOVEA_ASSIGN(const Window window,
                 resolve_window(layer, dims(input)[2], dims(input)[3], {kernel[0], kernel[1]}));
    FOVEA_ASSIGN(choice.kernel, make_max_pool(window, form(input).layout.physical(), block_));
    choice.path = Choice::Path::kKernel;
    choice.inputs = {input};
    set_output(layer.outputs[0], form(input).layout);
    return {};
  }

  Result<> try_resize(const Layer& layer, Choice& choice) {
    FOVEA_TRY(require_plain_layer(layer));
    const ValueId input = layer.inputs[0];
    if (!form(input).blockable) return declined("not f32 [1, C, H, W]");
    std::vector<float> scales;
    if (const Constant* given = constant(layer, 2);
        given != nullptr && given->dtype == DataType::kFloat32) {
      scales.assign(given->data<float>(), given->data<float>() + given->size());
    }
    std::vector<std::int64_t> sizes;
    if (layer.inputs.size() > 3) sizes = constant_ints(network_, layer.inputs[3]).value_or(sizes);
    FOVEA_ASSIGN(const ResizeGeometry geometry, resolve_resize(layer, dims(input), scales, sizes));
    if (geometry.mode != ResizeGeometry::Mode::kNearest) return declined("only nearest is blocked");
    if (geometry.output != dims(layer.outputs[0]) || geometry.output[1] != dims(input)[1]) {
      return declined("resizes channels");
    }
    for (std::int64_t y = 0; y < geometry.output[2]; ++y) {
      choice.rows.push_back(static_cast<std::int32_t>(geometry.nearest(2, y, dims(input)[2])));
    }
    for (std::int64_t x = 0; x < geometry.output[3]; ++x) {
      choice.columns.push_back(static_cast<std::int32_t>(geometry.nearest(3, x, dims(input)[3])));
    }
    choice.path = Choice::Path::kResize;
    choice.inputs = {input};
    set_output(layer.outputs[0], form(input).layout);
    return {};
  }

  Result<> try_add(const Layer& layer, Choice& choice) {
    FOVEA_TRY(require_plain_layer(layer));
    for (const ValueId input : layer.inputs) {
      if (!form(input).blockable || dims(input) != dims(layer.outputs[0]) || form(input).planar) {
        return declined("operands are not two blocked tensors of one shape");
      }
    }
    if (form(layer.inputs[0]).layout != form(layer.inputs[1]).layout) {
      return declined("operands lie differently");
    }
    choice.path = Choice::Path::kAdd;
    choice.inputs = layer.inputs;
    set_output(layer.outputs[0], form(layer.inputs[0]).layout);
    return {};
  }

  bool along_channels(const Layer& layer, ValueId shape) const {
    const auto axis = resolve_axis(layer.int_attribute("axis", 0), dims(shape).size());
    return axis && *axis == 1;
  }
  bool splits_channels(const Layer& layer) {
    return along_channels(layer, layer.inputs[0]) &&
           std::all_of(layer.outputs.begin(), layer.outputs.end(),
                       [&](ValueId part) { return form(part).blockable; });
  }

  Result<> try_concat(const Layer& layer, Choice& choice) {
    FOVEA_TRY(require_plain_layer(layer));
    if (!along_channels(layer, layer.outputs[0])) return declined("not along the channels");
    std::vector<ChannelLayout> parts;
    bool any_blocked = false;
    for (const ValueId input : layer.inputs) {
      if (!form(input).blockable) return declined("a part is not a computed f32 [1, C, H, W]");
      any_blocked = any_blocked || !form(input).planar;
      parts.push_back(form(input).layout);
    }
    if (!any_blocked) return declined("all parts are planar");
    choice.path = Choice::Path::kConcat;
    choice.inputs = layer.inputs;
    set_output(layer.outputs[0], ChannelLayout::concat(parts));
    return {};
  }

  Result<> try_split(const Layer& layer, Choice& choice) {
    FOVEA_TRY(require_plain_layer(layer));
    const ValueId input = layer.inputs[0];
    if (!form(input).blockable || form(input).planar || !splits_channels(layer)) {
      return declined("not along the channels of a blocked tensor");
    }
    choice.path = Choice::Path::kSplit;
    choice.inputs = {input};
    std::int64_t first = 0;
    for (const ValueId output : layer.outputs) {
      const std::int64_t channels = dims(output)[1];
      ChannelLayout part;
      std::int64_t start = 0;
      if (!form(input).layout.slice(first, channels, block_, part, start)) {
        part = ChannelLayout::padded(channels, block_);
      }
      set_output(output, std::move(part));
      first += channels;
    }
    return {};
  }

  const NetworkDefinition& network_;
  const std::int64_t block_;
  Choices result_;
  std::vector<std::vector<const Layer*>> readers_;
};

}  // namespace

Choices choose(const NetworkDefinition& network, std::int64_t block) {
  return Chooser(network, block).run();
}

}  // namespace fovea::engine::cpu::onednn
