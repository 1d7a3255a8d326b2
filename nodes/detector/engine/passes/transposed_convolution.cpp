// A ConvTranspose whose windows do not overlap is a 1x1 convolution that writes all pixels of a window
// side by side, and a move of them to their places. Providers are fast at both.
#include <algorithm>
#include <memory>
#include <utility>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

bool all_are(const Layer& layer, const char* attribute, std::int64_t value) {
  const auto values = layer.ints_attribute(attribute, {});
  return std::all_of(values.begin(), values.end(), [&](std::int64_t v) { return v == value; });
}

// Windows of `kernel` side by side, and nothing cut off or added around them.
bool is_side_by_side(const Layer& layer, const std::vector<std::int64_t>& kernel) {
  const std::string padding = layer.string_attribute("auto_pad", "NOTSET");
  return layer.ints_attribute("strides", {1, 1}) == kernel && all_are(layer, "pads", 0) &&
         all_are(layer, "output_padding", 0) && all_are(layer, "dilations", 1) &&
         layer.int_attribute("group", 1) == 1 && layer.attributes.count("output_shape") == 0 &&
         (padding == "NOTSET" || padding == "VALID") && layer.activation == Activation::kNone &&
         layer.residual == kNoValue;
}

// [in, out, h, w] as [h * w * out, in, 1, 1].
Constant weights_of_windows(const Constant& weights) {
  const std::int64_t in = weights.dims[0];
  const std::int64_t out = weights.dims[1];
  const std::int64_t window = weights.dims[2] * weights.dims[3];
  Constant moved = Constant::make(DataType::kFloat32, {window * out, in, 1, 1});
  for (std::int64_t i = 0; i < in; ++i) {
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t w = 0; w < window; ++w) {
        moved.data<float>()[(w * out + o) * in + i] =
            weights.data<float>()[(i * out + o) * window + w];
      }
    }
  }
  return moved;
}

Constant repeated(const Constant& bias, std::int64_t times) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < times; ++i) {
    values.insert(values.end(), bias.data<float>(), bias.data<float>() + bias.size());
  }
  return Constant::floats({static_cast<std::int64_t>(values.size())}, values);
}

class Rewriter {
 public:
  // `from`: the extents of the layer's input.
  Rewriter(NetworkDefinition& network, const Layer& layer, const Dims& from)
      : network_(network), layer_(layer), height_(from[2]), width_(from[3]) {}

  // The layers in place of this one. REQUIRES: is_side_by_side(), constant weights and bias.
  std::vector<Layer> run(const Constant& weights, const Constant* bias) {
    const std::int64_t out = weights.dims[1];
    const std::int64_t tall = weights.dims[2];
    const std::int64_t wide = weights.dims[3];
    Layer conv = begin(OpType::kConv, "", layer_.inputs[0]);
    conv.inputs.push_back(constant("weights", weights_of_windows(weights)));
    if (bias != nullptr) conv.inputs.push_back(constant("bias", repeated(*bias, tall * wide)));
    conv.fused = layer_.fused;
    const ValueId windows = end(std::move(conv));
    Layer apart = begin(OpType::kReshape, "/apart", windows);
    apart.inputs.push_back(
        constant("apart", Constant::ints({0, tall, wide, out, height_, width_})));
    Layer move = begin(OpType::kTranspose, "/move", end(std::move(apart)));
    move.attributes["perm"] = std::vector<std::int64_t>{0, 3, 4, 1, 5, 2};
    Layer together = begin(OpType::kReshape, "/together", end(std::move(move)));
    together.inputs.push_back(
        constant("together", Constant::ints({0, out, height_ * tall, width_ * wide})));
    together.outputs = layer_.outputs;
    layers_.push_back(std::move(together));
    return std::move(layers_);
  }

 private:
  Layer begin(OpType op, const char* suffix, ValueId input) const {
    Layer layer;
    layer.op = op;
    layer.name = layer_.name + suffix;
    layer.inputs = {input};
    return layer;
  }
  ValueId end(Layer layer) {
    const ValueId id =
        network_.add_value({layer.name + ":windows", DataType::kFloat32, {}, nullptr});
    layer.outputs = {id};
    layers_.push_back(std::move(layer));
    return id;
  }
  ValueId constant(const char* what, Constant value) {
    return network_.add_constant(layer_.name + "." + what,
                                 std::make_shared<const Constant>(std::move(value)));
  }

  NetworkDefinition& network_;
  const Layer& layer_;
  std::int64_t height_;
  std::int64_t width_;
  std::vector<Layer> layers_;
};

}  // namespace

Result<PassOutcome> unfold_transposed_convolutions(NetworkDefinition& network,
                                                   const LoweringOptions&) {
  PassOutcome outcome;
  const auto transposed = [](const Layer& layer) { return layer.op == OpType::kConvTranspose; };
  if (std::none_of(network.layers.begin(), network.layers.end(), transposed)) return outcome;
  const ShapeEnds ends = ends_of(network);
  FOVEA_ASSIGN(const NetworkDefinition least, with_shapes(ends.least));
  FOVEA_ASSIGN(const NetworkDefinition greatest, with_shapes(ends.greatest));
  std::vector<Layer> layers;
  for (Layer& layer : network.layers) {
    const Constant* weights =
        transposed(layer) ? float_constant(network, layer.inputs[1]) : nullptr;
    const bool has_bias = layer.inputs.size() > 2 && layer.inputs[2] != kNoValue;
    const Constant* bias =
        weights != nullptr && has_bias ? float_constant(network, layer.inputs[2]) : nullptr;
    const bool known = weights != nullptr && weights->dims.size() == 4 &&
                       (!has_bias || bias != nullptr) &&
                       is_side_by_side(layer, {weights->dims[2], weights->dims[3]});
    // A reshape needs one size.
    const Dims from = known ? least.value(layer.inputs[0]).dims : Dims{};
    const bool one_size = known && from.size() == 4 && [&] {
      const Dims& other = greatest.value(layer.inputs[0]).dims;
      return from[2] == other[2] && from[3] == other[3];
    }();
    if (!one_size) {
      layers.push_back(std::move(layer));
      continue;
    }
    for (Layer& part : Rewriter(network, layer, from).run(*weights, bias)) {
      layers.push_back(std::move(part));
    }
    ++outcome.changes;
  }
  network.layers = std::move(layers);
  return outcome;
}

}  // namespace fovea::engine
