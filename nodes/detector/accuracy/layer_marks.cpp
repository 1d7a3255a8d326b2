#include "nodes/detector/accuracy/layer_marks.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace fovea {

namespace {

using engine::kNoValue;
using engine::Layer;
using engine::NetworkDefinition;
using engine::OpType;
using engine::Precision;
using engine::ValueId;

// What the convolutions around `set` all compute in; fp32 where they disagree, as they then store
// it in f32.
Precision precision_of_set(const NetworkDefinition& network,
                           const std::vector<std::int32_t>& shared, std::int32_t set) {
  std::vector<Precision> found;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.op != OpType::kConv) continue;
    for (const ValueId id : {layer.inputs[0], layer.outputs[0], layer.residual}) {
      if (id != kNoValue && shared[static_cast<std::size_t>(id)] == set) {
        found.push_back(network.quantization.layers[i].precision);
      }
    }
  }
  const bool agree = !found.empty() && std::all_of(found.begin(), found.end(), [&](Precision one) {
    return one == found.front();
  });
  return agree && found.front() != Precision::kInt8 ? found.front() : Precision::kFp32;
}

ValueId add_reader(NetworkDefinition& network, ValueId from, Precision precision) {
  const engine::Value source = network.value(from);
  const std::int64_t channels = source.dims[1];
  const std::vector<float> ones(static_cast<std::size_t>(channels), 1.0F);
  Layer layer;
  layer.name = "mark of " + source.name;
  layer.op = OpType::kConv;
  const ValueId weights = network.add_constant(
      layer.name + ":weights", std::make_shared<const engine::Constant>(
                                   engine::Constant::floats({channels, 1, 1, 1}, ones)));
  layer.inputs = {from, weights};
  layer.outputs = {network.add_value({layer.name, source.dtype, source.dims, nullptr})};
  layer.attributes = {{"group", channels}, {"kernel_shape", std::vector<std::int64_t>{1, 1}}};
  const ValueId output = layer.outputs[0];
  network.layers.push_back(std::move(layer));
  engine::LayerQuantization quantization;
  quantization.precision = precision;
  network.quantization.layers.push_back(quantization);
  network.quantization.values.resize(network.values.size());
  return output;
}

}  // namespace

bool can_be_marked(const NetworkDefinition& network, ValueId value) {
  const engine::Value& of = network.value(value);
  return !of.constant && !of.dims.empty() && of.dims[0] == 1 && engine::volume(of.dims) > 0;
}

MarkedNetwork mark_values(const NetworkDefinition& network, std::span<const ValueId> values) {
  MarkedNetwork marked{network, {}};
  const bool quantised = !network.quantization.empty();
  const std::vector<std::int32_t> shared =
      quantised ? engine::shared_grids(network) : std::vector<std::int32_t>();
  for (const ValueId value : values) {
    std::vector<ValueId>& outputs = marked.network.outputs;
    const auto there = std::find(outputs.begin(), outputs.end(), value);
    marked.outputs.push_back(static_cast<std::size_t>(there - outputs.begin()));
    if (there != outputs.end()) continue;
    const std::int32_t set = quantised ? shared[static_cast<std::size_t>(value)] : kNoValue;
    const ValueId output =
        set == kNoValue ? value
                        : add_reader(marked.network, value, precision_of_set(network, shared, set));
    marked.network.outputs.push_back(output);
  }
  return marked;
}

}  // namespace fovea
