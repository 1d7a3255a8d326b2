// The network reads camera pixels as they are: u8, RGB, interleaved.
#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/picture.hpp"

namespace fovea::engine {

namespace {

constexpr std::size_t kBytes = PixelValues::kBytes;

bool has_padding(const Layer& conv) {
  const std::string automatic = conv.string_attribute("auto_pad", "NOTSET");
  if (automatic != "NOTSET") return automatic != "VALID";
  const std::vector<std::int64_t> pads = conv.ints_attribute("pads", {});
  return std::any_of(pads.begin(), pads.end(), [](std::int64_t pad) { return pad != 0; });
}

// Whether a convolution that reads the picture's channels, or blocks of them, can read bytes instead.
// The zeros of a padding are zeros behind the mean, which are no byte: with a shift there must be none.
bool can_take(const NetworkDefinition& network, const Layer& conv, const PixelValues& values) {
  const Constant* weights = float_constant(network, conv.inputs[1]);
  if (weights == nullptr || weights->packed() || conv.int_attribute("group", 1) != 1 ||
      weights->dims[1] % static_cast<std::int64_t>(values.channels) != 0) {
    return false;
  }
  const bool bias_known =
      conv.inputs.size() < 3 || float_constant(network, conv.inputs[2]) != nullptr;
  return !values.shifted() || (bias_known && !has_padding(conv));
}

// Whether a layer takes the picture apart, or puts it together again, without touching a pixel:
// YOLOX's and early YOLOv5's focus. What it gives has blocks of the picture's channels, in order.
bool moves_pixels(const NetworkDefinition& network, const Layer& layer) {
  if (layer.op == OpType::kConcat) {
    const std::int64_t axis = layer.int_attribute("axis", 0);
    return axis == 1 || axis == -3;
  }
  if (layer.op != OpType::kSlice || layer.inputs.size() < 4) return false;
  const auto axes = constant_ints(network, layer.inputs[3]);
  return axes && std::all_of(axes->begin(), axes->end(), [](std::int64_t axis) {
           return axis == 2 || axis == 3 || axis == -1 || axis == -2;
         });
}

// The convolutions through which all that is known of the picture goes; nullopt if somebody else
// reads it, or one that cannot read bytes.
std::optional<std::vector<std::size_t>> first_convolutions(const NetworkDefinition& network,
                                                           ValueId picture,
                                                           const PixelValues& values) {
  std::vector<bool> moved(network.values.size(), false);
  const auto is_moved = [&](ValueId id) {
    return id != kNoValue && moved[static_cast<std::size_t>(id)];
  };
  moved[static_cast<std::size_t>(picture)] = true;
  std::vector<std::size_t> convolutions;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (is_moved(layer.residual)) return std::nullopt;
    const auto read = std::count_if(layer.inputs.begin(), layer.inputs.end(), is_moved);
    if (read == 0) continue;
    const bool first_only = read == 1 && is_moved(layer.inputs[0]);
    if (layer.op == OpType::kConv && first_only && can_take(network, layer, values)) {
      convolutions.push_back(i);
    } else if (moves_pixels(network, layer) &&
               (layer.op == OpType::kConcat
                    ? read == static_cast<std::ptrdiff_t>(layer.inputs.size())
                    : first_only)) {
      moved[static_cast<std::size_t>(layer.outputs[0])] = true;
    } else {
      return std::nullopt;
    }
  }
  if (std::any_of(network.outputs.begin(), network.outputs.end(), is_moved)) return std::nullopt;
  return convolutions;
}

// Makes a convolution of the picture one of bytes.
void take_bytes(NetworkDefinition& network, Layer& conv, const PixelValues& values) {
  const Constant& old = *network.value(conv.inputs[1]).constant;
  const std::int64_t blocks = old.dims[1] / static_cast<std::int64_t>(values.channels);
  const std::int64_t window = old.dims[2] * old.dims[3];
  Dims dims = old.dims;
  dims[1] = blocks * static_cast<std::int64_t>(kBytes);
  Constant weights = Constant::make(DataType::kFloat32, dims);
  Constant bias = Constant::make(DataType::kFloat32, {dims[0]});
  if (conv.inputs.size() > 2) bias = *network.value(conv.inputs[2]).constant;
  const float* from = old.data<float>();
  for (std::int64_t o = 0; o < dims[0]; ++o) {
    double shift = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      float* to =
          weights.data<float>() + (o * blocks + b) * static_cast<std::int64_t>(kBytes) * window;
      for (std::size_t c = 0; c < values.channels; ++c) {
        for (std::int64_t w = 0; w < window; ++w, ++from) {
          for (std::size_t k = 0; k < kBytes; ++k) {
            to[static_cast<std::int64_t>(k) * window + w] += *from * values.factors[c][k];
          }
          shift += static_cast<double>(*from) * static_cast<double>(values.shifts[c]);
        }
      }
    }
    bias.data<float>()[o] += static_cast<float>(shift);
  }
  conv.inputs[1] = network.add_constant(conv.name + ".weight",
                                        std::make_shared<const Constant>(std::move(weights)));
  if (!values.shifted()) return;
  conv.inputs.resize(2);
  conv.inputs.push_back(
      network.add_constant(conv.name + ".bias", std::make_shared<const Constant>(std::move(bias))));
}

// A layer of its own between the bytes and those who read the picture.
Layer values_layer(NetworkDefinition& network, const std::string& name, ValueId bytes,
                   const PixelValues& values) {
  Layer layer;
  const auto constant = [&](const char* what, Constant made) {
    return network.add_constant(name + what, std::make_shared<const Constant>(std::move(made)));
  };
  if (const auto scale = values.only_scale()) {
    layer.name = name + ".scale";
    layer.op = OpType::kMul;
    layer.inputs = {bytes, constant(".scale.factor", Constant::floats({}, {*scale}))};
    return layer;
  }
  layer.name = name + ".values";
  layer.op = OpType::kConv;
  std::vector<float> weights;
  std::vector<float> bias;
  for (std::size_t c = 0; c < values.channels; ++c) {
    weights.insert(weights.end(), values.factors[c].begin(), values.factors[c].end());
    bias.push_back(values.shifts[c]);
  }
  const auto channels = static_cast<std::int64_t>(values.channels);
  layer.inputs = {bytes,
                  constant(".values.weight", Constant::floats({channels, kBytes, 1, 1}, weights)),
                  constant(".values.bias", Constant::floats({channels}, bias))};
  return layer;
}

}  // namespace

Result<PassOutcome> fold_image_input(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  if (network.inputs.size() != 1) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the model has {} inputs; it must have one image", network.inputs.size()));
  }
  const ValueId input = network.inputs[0];
  const Value original = network.value(input);
  const Dims& dims = original.dims;
  if (dims.size() != 4 || (dims[1] != 3 && dims[1] != 1) ||
      (original.dtype != DataType::kUint8 && original.dtype != DataType::kFloat32)) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("input '{}' is {} {}; it must be float32 or uint8 [batch, 3, height, width], "
                    "or of 1 channel",
                    original.name, to_string(original.dtype), to_string(dims)));
  }
  if (dims[1] == 1) network.picture.colour = ColourOrder::kGray;
  const PixelValues values = values_of(network.picture);

  // The old value stays what layers read; a new one becomes the input.
  Layer layer;
  layer.name = original.name + ".image";
  layer.op = OpType::kImageInput;
  layer.outputs = {input};
  Value image{original.name, DataType::kUint8, {dims[0], dims[2], dims[3], 3}, nullptr};
  network.value(input).name = original.name + ".planar";
  network.value(input).dtype = DataType::kFloat32;
  network.value(input).dims[1] = 3;
  const ValueId image_id = network.add_value(std::move(image));
  layer.inputs = {image_id};
  network.inputs[0] = image_id;
  network.layers.insert(network.layers.begin(), std::move(layer));
  outcome.changes = 1;
  outcome.note = fmt::format("'{}' is uint8 [batch, {}, {}, 3]", original.name, dims[2], dims[3]);
  if (values.only_scale() == 1.0F) return outcome;

  if (const auto convolutions = first_convolutions(network, input, values)) {
    for (const std::size_t i : *convolutions) {
      Layer conv = network.layers[i];
      take_bytes(network, conv, values);
      network.layers[i] = std::move(conv);
    }
    return outcome;
  }
  const ValueId model_reads =
      network.add_value({original.name + ".scaled", DataType::kFloat32, dims, nullptr});
  replace_value(network, input, model_reads);
  Layer own = values_layer(network, original.name, input, values);
  own.outputs = {model_reads};
  outcome.note += own.op == OpType::kMul ? "; its scale stays a layer of its own"
                                         : "; its colours and values stay a layer of their own";
  network.layers.insert(network.layers.begin() + 1, std::move(own));
  return outcome;
}

}  // namespace fovea::engine
