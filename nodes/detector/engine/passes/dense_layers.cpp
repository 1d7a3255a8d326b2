// A Gemm over one row per picture is a 1x1 convolution of a picture of one pixel: the last layer of a
// classifier, which providers are fast at as a convolution.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

// Weights [out, in, 1, 1] and bias [out] of a Gemm, y = x * w + b.
struct Dense {
  Constant weights;
  std::optional<Constant> bias;
};

// nullopt if it is more than that, or no constants.
std::optional<Dense> dense_of(const NetworkDefinition& network, const Layer& layer) {
  if (layer.op != OpType::kGemm || layer.activation != Activation::kNone ||
      layer.residual != kNoValue || layer.int_attribute("transA", 0) != 0 ||
      layer.float_attribute("alpha", 1) != 1 || layer.float_attribute("beta", 1) != 1) {
    return std::nullopt;
  }
  const Constant* weights = float_constant(network, layer.inputs[1]);
  if (weights == nullptr || weights->dims.size() != 2) return std::nullopt;
  const bool out_first = layer.int_attribute("transB", 0) != 0;
  const std::int64_t out = weights->dims[out_first ? 0 : 1];
  const std::int64_t in = weights->dims[out_first ? 1 : 0];
  Dense dense{Constant::make(DataType::kFloat32, {out, in, 1, 1}), std::nullopt};
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t i = 0; i < in; ++i) {
      dense.weights.data<float>()[o * in + i] =
          weights->data<float>()[out_first ? o * in + i : i * out + o];
    }
  }
  if (layer.inputs.size() < 3 || layer.inputs[2] == kNoValue) return dense;
  const Constant* bias = float_constant(network, layer.inputs[2]);
  if (bias == nullptr || bias->size() != out || bias->dims.back() != out) return std::nullopt;
  dense.bias = Constant::floats({out}, {bias->data<float>(), bias->data<float>() + out});
  return dense;
}

// What layers in place of one are made of.
class Parts {
 public:
  Parts(NetworkDefinition& network, const Layer& whole) : network_(network), whole_(whole) {}

  ValueId constant(const char* what, Constant value) {
    return network_.add_constant(whole_.name + what,
                                 std::make_shared<const Constant>(std::move(value)));
  }
  ValueId add(OpType op, const char* suffix, std::vector<ValueId> inputs) {
    Layer layer;
    layer.op = op;
    layer.name = whole_.name + suffix;
    layer.inputs = std::move(inputs);
    layer.outputs = {network_.add_value({layer.name + ":pixel", DataType::kFloat32, {}, nullptr})};
    layers.push_back(std::move(layer));
    return layers.back().outputs[0];
  }

  std::vector<Layer> layers;

 private:
  NetworkDefinition& network_;
  const Layer& whole_;
};

}  // namespace

Result<PassOutcome> convolve_dense_layers(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  if (std::none_of(network.layers.begin(), network.layers.end(),
                   [](const Layer& layer) { return layer.op == OpType::kGemm; })) {
    return outcome;
  }
  const ShapeEnds ends = ends_of(network);
  FOVEA_ASSIGN(const NetworkDefinition least, with_shapes(ends.least, ends.least_batch));
  FOVEA_ASSIGN(const NetworkDefinition greatest, with_shapes(ends.greatest, ends.greatest_batch));
  std::vector<Layer> layers;
  for (Layer& layer : network.layers) {
    // Rows that are no pictures would become a batch.
    const auto rows_are = [&](const NetworkDefinition& shaped, std::int64_t batch) {
      const Dims& rows = shaped.value(layer.inputs[0]).dims;
      return rows.size() == 2 && rows[0] == batch;
    };
    std::optional<Dense> dense;
    if (layer.op == OpType::kGemm && rows_are(least, ends.least_batch) &&
        rows_are(greatest, ends.greatest_batch)) {
      dense = dense_of(network, layer);
    }
    if (!dense) {
      layers.push_back(std::move(layer));
      continue;
    }
    const std::int64_t out = dense->weights.dims[0];
    const std::int64_t in = dense->weights.dims[1];
    Parts parts(network, layer);
    const ValueId pixel =
        parts.add(OpType::kReshape, "/pixel",
                  {layer.inputs[0], parts.constant(".pixel", Constant::ints({0, in, 1, 1}))});
    std::vector<ValueId> inputs = {pixel, parts.constant(".weights", std::move(dense->weights))};
    if (dense->bias) inputs.push_back(parts.constant(".bias", *std::move(dense->bias)));
    const ValueId channels = parts.add(OpType::kConv, "", std::move(inputs));
    parts.layers.back().fused = layer.fused;
    parts.add(OpType::kReshape, "/row",
              {channels, parts.constant(".row", Constant::ints({0, out}))});
    parts.layers.back().outputs = layer.outputs;
    for (Layer& part : parts.layers) layers.push_back(std::move(part));
    ++outcome.changes;
  }
  network.layers = std::move(layers);
  return outcome;
}

}  // namespace fovea::engine
