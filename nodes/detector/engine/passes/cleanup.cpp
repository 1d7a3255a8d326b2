// Passes that only take away: constant folding, identities, dead layers.
#include <algorithm>
#include <numeric>

#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

namespace {

// A folded constant may be larger than what it is made from; beyond this the layer stays.
constexpr std::int64_t kMaxFoldedElements = std::int64_t{1} << 26;

// Does the layer hand on its input as it is? `shaped` has the shapes.
bool is_identity(const NetworkDefinition& shaped, const Layer& layer) {
  if (layer.inputs.empty() || layer.inputs[0] == kNoValue || layer.outputs.size() != 1)
    return false;
  const Value& in = shaped.value(layer.inputs[0]);
  const Value& out = shaped.value(layer.outputs[0]);
  if (in.dtype != out.dtype || in.dims != out.dims) return false;
  switch (layer.op) {
    case OpType::kIdentity:
    case OpType::kCast:
    case OpType::kReshape:
    case OpType::kFlatten:
    case OpType::kSqueeze:
    case OpType::kUnsqueeze:
    case OpType::kExpand:
    case OpType::kPad:
    case OpType::kSplit:
      return true;
    case OpType::kConcat:
      return layer.inputs.size() == 1;
    case OpType::kSlice: {
      if (layer.inputs.size() <= 4) return true;
      const auto steps = constant_ints(shaped, layer.inputs[4]);
      return steps &&
             std::all_of(steps->begin(), steps->end(), [](std::int64_t s) { return s == 1; });
    }
    case OpType::kTranspose: {
      const auto perm = layer.ints_attribute("perm", {});
      return !perm.empty() && std::is_sorted(perm.begin(), perm.end());
    }
    default:
      return false;
  }
}

}  // namespace

Result<PassOutcome> fold_constants(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(network));
  std::vector<bool> removed(network.layers.size(), false);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const Layer& layer = network.layers[l];
    std::vector<TensorInfo> infos(layer.inputs.size());
    std::vector<const TensorInfo*> inputs(layer.inputs.size(), nullptr);
    bool constant = layer.residual == kNoValue && !layer.inputs.empty();
    for (std::size_t i = 0; i < layer.inputs.size() && constant; ++i) {
      if (layer.inputs[i] == kNoValue) continue;
      const Value& value = network.value(layer.inputs[i]);
      constant = value.constant != nullptr;
      infos[i] = {value.dtype, value.dims, value.constant.get()};
      inputs[i] = &infos[i];
    }
    if (!constant) continue;
    std::vector<TensorInfo> outputs;
    for (const ValueId id : layer.outputs) {
      const Value& value = shaped.value(id);
      constant = constant && volume(value.dims) <= kMaxFoldedElements;
      outputs.push_back({value.dtype, value.dims, nullptr});
    }
    if (!constant) continue;
    auto contents = reference::evaluate_known(layer, inputs, outputs);
    if (!contents) return fail(contents.error().with_context("layer '" + layer.name + "'"));
    for (std::size_t i = 0; i < contents->size(); ++i) {
      Value& value = network.value(layer.outputs[i]);
      value.dtype = (*contents)[i].dtype;
      value.dims = (*contents)[i].dims;
      value.constant = std::make_shared<const Constant>(std::move((*contents)[i]));
    }
    removed[l] = true;
    ++outcome.changes;
  }
  remove_layers(network, removed);
  return outcome;
}

Result<PassOutcome> remove_identities(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  // An identity at one size need not be one at another.
  const ShapeEnds ends = ends_of(network);
  FOVEA_ASSIGN(const NetworkDefinition least, with_shapes(ends.least));
  FOVEA_ASSIGN(const NetworkDefinition greatest, with_shapes(ends.greatest));
  std::vector<bool> removed(network.layers.size(), false);
  const GraphIndex index(network);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    if (!is_identity(least, network.layers[l]) || !is_identity(greatest, network.layers[l])) {
      continue;
    }
    // Read from the network: an earlier identity may have put another value here.
    const ValueId from = network.layers[l].outputs[0];
    const ValueId to = network.layers[l].inputs[0];
    // An output takes over the value's name, so the value must be free to give up its own.
    const bool output = index.is_output(from);
    const bool taken =
        !index.producer(to) ||
        std::find(network.outputs.begin(), network.outputs.end(), to) != network.outputs.end();
    if (output && taken) continue;
    replace_value(network, from, to);
    removed[l] = true;
    ++outcome.changes;
  }
  remove_layers(network, removed);
  return outcome;
}

Result<PassOutcome> remove_dead_layers(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  std::vector<bool> used(network.values.size(), false);
  const auto use = [&](ValueId id) {
    if (id != kNoValue) used[static_cast<std::size_t>(id)] = true;
  };
  for (const ValueId id : network.outputs) use(id);
  for (const ValueId id : network.inputs) use(id);
  std::vector<bool> removed(network.layers.size(), false);
  for (std::size_t l = network.layers.size(); l-- > 0;) {
    const Layer& layer = network.layers[l];
    const bool alive = std::any_of(layer.outputs.begin(), layer.outputs.end(),
                                   [&](ValueId id) { return used[static_cast<std::size_t>(id)]; });
    if (!alive) {
      removed[l] = true;
      ++outcome.changes;
      continue;
    }
    for (const ValueId id : layer.inputs) use(id);
    for (const ValueId id : layer.outputs) use(id);
    use(layer.residual);
  }
  remove_layers(network, removed);

  std::vector<ValueId> renumbered(network.values.size(), kNoValue);
  std::vector<Value> kept;
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    if (!used[i]) continue;
    renumbered[i] = static_cast<ValueId>(kept.size());
    kept.push_back(std::move(network.values[i]));
  }
  network.values = std::move(kept);
  const auto renumber = [&](ValueId& id) {
    if (id != kNoValue) id = renumbered[static_cast<std::size_t>(id)];
  };
  for (Layer& layer : network.layers) {
    for (ValueId& id : layer.inputs) renumber(id);
    for (ValueId& id : layer.outputs) renumber(id);
    renumber(layer.residual);
  }
  for (ValueId& id : network.inputs) renumber(id);
  for (ValueId& id : network.outputs) renumber(id);
  return outcome;
}

}  // namespace fovea::engine
