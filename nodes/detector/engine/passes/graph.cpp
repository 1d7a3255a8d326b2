#include "nodes/detector/engine/passes/graph.hpp"

#include <algorithm>

#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine {

GraphIndex::GraphIndex(const NetworkDefinition& network)
    : producer_(network.values.size()),
      readers_(network.values.size()),
      output_(network.values.size(), false) {
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    for (const ValueId id : layer.outputs) producer_[static_cast<std::size_t>(id)] = i;
    for (const ValueId id : layer.inputs) {
      if (id != kNoValue) readers_[static_cast<std::size_t>(id)].push_back(i);
    }
    if (layer.residual != kNoValue) readers_[static_cast<std::size_t>(layer.residual)].push_back(i);
  }
  for (const ValueId id : network.outputs) output_[static_cast<std::size_t>(id)] = true;
}

std::optional<std::size_t> GraphIndex::producer(ValueId id) const {
  return id == kNoValue ? std::nullopt : producer_[static_cast<std::size_t>(id)];
}

std::optional<std::size_t> GraphIndex::only_reader(ValueId id) const {
  if (is_output(id) || readers(id).size() != 1) return std::nullopt;
  return readers(id).front();
}

void replace_value(NetworkDefinition& network, ValueId from, ValueId to) {
  for (Layer& layer : network.layers) {
    std::replace(layer.inputs.begin(), layer.inputs.end(), from, to);
    if (layer.residual == from) layer.residual = to;
  }
  for (ValueId& output : network.outputs) {
    if (output != from) continue;
    output = to;
    network.value(to).name = network.value(from).name;
  }
}

void remove_layers(NetworkDefinition& network, const std::vector<bool>& removed) {
  std::vector<Layer> kept;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (!removed[i]) kept.push_back(std::move(network.layers[i]));
  }
  network.layers = std::move(kept);
}

std::vector<ValueId> nearest_written(const NetworkDefinition& network, ValueId output,
                                     const std::function<bool(const Layer&)>& stops) {
  const GraphIndex index(network);
  std::vector<bool> seen(network.values.size(), false);
  std::vector<ValueId> pending = {output};
  std::vector<ValueId> found;
  while (!pending.empty()) {
    const ValueId id = pending.back();
    pending.pop_back();
    if (id == kNoValue || seen[static_cast<std::size_t>(id)]) continue;
    seen[static_cast<std::size_t>(id)] = true;
    if (network.value(id).constant != nullptr) continue;
    const auto producer = index.producer(id);
    if (!producer) return {};
    const Layer& layer = network.layers[*producer];
    if (stops(layer)) {
      found.push_back(id);
    } else if (layer.op != OpType::kShape) {
      pending.insert(pending.end(), layer.inputs.begin(), layer.inputs.end());
      pending.push_back(layer.residual);
    }
  }
  return found;
}

Result<> keep_between(NetworkDefinition& network, const std::vector<ValueId>& inputs,
                      const std::vector<ValueId>& outputs) {
  NetworkDefinition shaped = network;
  FOVEA_ASSIGN(const KnownValues known, infer_known_values(shaped, 1));
  std::vector<bool> cut(network.layers.size(), false);
  const GraphIndex index(network);
  for (const ValueId id : inputs) {
    cut[*index.producer(id)] = true;
    network.value(id).dims = shaped.value(id).dims;
  }
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (network.layers[i].op != OpType::kShape) continue;
    const ValueId shape = network.layers[i].outputs[0];
    const auto& contents = known[static_cast<std::size_t>(shape)];
    if (contents == nullptr) continue;
    network.value(shape) = shaped.value(shape);
    network.value(shape).constant = contents;
    cut[i] = true;
  }
  network.inputs = inputs;
  network.outputs = outputs;
  remove_layers(network, cut);
  FOVEA_TRY(remove_dead_layers(network));
  return {};
}

Result<NetworkDefinition> with_shapes(const NetworkDefinition& network, std::int64_t batch) {
  NetworkDefinition shaped = network;
  FOVEA_TRY(infer_shapes(shaped, batch));
  return shaped;
}

ShapeEnds ends_of(const NetworkDefinition& network) {
  const std::int64_t batch = declared_batch(network);
  ShapeEnds ends{network, network, batch == -1 ? 1 : batch, batch == -1 ? 2 : batch};
  ends.least.profile.opt = network.profile.min;
  ends.greatest.profile.opt = network.profile.max;
  return ends;
}

std::int64_t declared_batch(const NetworkDefinition& network) {
  if (network.inputs.empty()) return 1;
  const Dims& dims = network.value(network.inputs.front()).dims;
  return dims.empty() ? 1 : dims.front();
}

const Constant* float_constant(const NetworkDefinition& network, ValueId id) {
  if (id == kNoValue) return nullptr;
  const Constant* constant = network.value(id).constant.get();
  return constant != nullptr && constant->dtype == DataType::kFloat32 ? constant : nullptr;
}

}  // namespace fovea::engine
