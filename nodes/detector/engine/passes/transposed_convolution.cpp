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
  // `size`: height and width of the layer's input, empty if they are open.
  Rewriter(NetworkDefinition& network, const Layer& layer, Dims size)
      : network_(network), layer_(layer), size_(std::move(size)) {}

  // The layers in place of this one. REQUIRES: is_side_by_side(), constant weights and bias.
  std::vector<Layer> run(const Constant& weights, const Constant* bias) {
    const std::int64_t out = weights.dims[1];
    const std::int64_t tall = weights.dims[2];
    const std::int64_t wide = weights.dims[3];
    std::vector<ValueId> inputs = {layer_.inputs[0],
                                   constant("weights", weights_of_windows(weights))};
    if (bias != nullptr) inputs.push_back(constant("bias", repeated(*bias, tall * wide)));
    const ValueId windows = add(OpType::kConv, "", std::move(inputs));
    layers_.back().fused = layer_.fused;
    const ValueId apart = add(OpType::kReshape, "/apart",
                              {windows, extents(windows, {0, tall, wide, out}, {1, 1}, "/apart")});
    const ValueId moved = add(OpType::kTranspose, "/move", {apart});
    layers_.back().attributes["perm"] = std::vector<std::int64_t>{0, 3, 4, 1, 5, 2};
    add(OpType::kReshape, "/together",
        {moved, extents(windows, {0, out}, {tall, wide}, "/together")});
    layers_.back().outputs = layer_.outputs;
    return std::move(layers_);
  }

 private:
  ValueId constant(const std::string& what, Constant value) {
    return network_.add_constant(layer_.name + "." + what,
                                 std::make_shared<const Constant>(std::move(value)));
  }
  ValueId add(OpType op, const std::string& suffix, std::vector<ValueId> inputs) {
    Layer layer;
    layer.op = op;
    layer.name = layer_.name + suffix;
    layer.inputs = std::move(inputs);
    layer.outputs = {
        network_.add_value({layer.name + ":windows", DataType::kFloat32, {}, nullptr})};
    layers_.push_back(std::move(layer));
    return layers_.back().outputs[0];
  }

  // `first`, then height and width of `windows` times `factors`.
  ValueId extents(ValueId windows, Dims first, const Dims& factors, const std::string& suffix) {
    if (!size_.empty()) {
      first.push_back(size_[0] * factors[0]);
      first.push_back(size_[1] * factors[1]);
      return constant(suffix, Constant::ints(first));
    }
    const ValueId shape = add(OpType::kShape, suffix + "/shape", {windows});
    const ValueId size = add(OpType::kSlice, suffix + "/size",
                             {shape, constant(suffix + ".from", Constant::ints({2})),
                              constant(suffix + ".to", Constant::ints({4}))});
    const ValueId scaled = add(OpType::kMul, suffix + "/scaled",
                               {size, constant(suffix + ".factors", Constant::ints(factors))});
    const ValueId all = add(OpType::kConcat, suffix + "/extents",
                            {constant(suffix + ".first", Constant::ints(first)), scaled});
    layers_.back().attributes["axis"] = std::int64_t{0};
    return all;
  }

  NetworkDefinition& network_;
  const Layer& layer_;
  Dims size_;
  std::vector<Layer> layers_;
};

// Weights and bias of a ConvTranspose that can be unfolded; no weights: it cannot.
struct Parameters {
  const Constant* weights = nullptr;
  const Constant* bias = nullptr;
};
Parameters parameters_of(const NetworkDefinition& network, const Layer& layer) {
  if (layer.op != OpType::kConvTranspose) return {};
  const Constant* weights = float_constant(network, layer.inputs[1]);
  if (weights == nullptr || weights->dims.size() != 4) return {};
  if (!is_side_by_side(layer, {weights->dims[2], weights->dims[3]})) return {};
  if (layer.inputs.size() < 3 || layer.inputs[2] == kNoValue) return {weights, nullptr};
  const Constant* bias = float_constant(network, layer.inputs[2]);
  return bias == nullptr ? Parameters{} : Parameters{weights, bias};
}

}  // namespace

Result<PassOutcome> unfold_transposed_convolutions(NetworkDefinition& network,
                                                   const LoweringOptions&) {
  PassOutcome outcome;
  const auto transposed = [](const Layer& layer) { return layer.op == OpType::kConvTranspose; };
  if (std::none_of(network.layers.begin(), network.layers.end(), transposed)) return outcome;
  const ShapeEnds ends = ends_of(network);
  FOVEA_ASSIGN(const NetworkDefinition least, with_shapes(ends.least, ends.least_batch));
  FOVEA_ASSIGN(const NetworkDefinition greatest, with_shapes(ends.greatest, ends.greatest_batch));
  std::vector<Layer> layers;
  for (Layer& layer : network.layers) {
    const Parameters parameters = parameters_of(network, layer);
    if (parameters.weights == nullptr) {
      layers.push_back(std::move(layer));
      continue;
    }
    const Dims& from = least.value(layer.inputs[0]).dims;
    const Dims& to = greatest.value(layer.inputs[0]).dims;
    const bool open = from[2] != to[2] || from[3] != to[3];
    Rewriter rewriter(network, layer, open ? Dims{} : Dims{from[2], from[3]});
    for (Layer& part : rewriter.run(*parameters.weights, parameters.bias)) {
      layers.push_back(std::move(part));
    }
    ++outcome.changes;
  }
  network.layers = std::move(layers);
  return outcome;
}

}  // namespace fovea::engine
