// Models that were quantised elsewhere say where they round. For int8 only the ranges matter: the
// layers that round would keep convolutions, activations and the detect head apart.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

// The only element of a constant; nullopt for anything else.
std::optional<double> number(const NetworkDefinition& network, const Layer& layer,
                             std::size_t index) {
  const Constant* constant = network.value(layer.inputs[index]).constant.get();
  if (constant == nullptr || constant->size() != 1) return std::nullopt;
  switch (constant->dtype) {
    case DataType::kFloat32:
      return static_cast<double>(*constant->data<float>());
    case DataType::kInt64:
      return static_cast<double>(*constant->data<std::int64_t>());
    default:
      return std::nullopt;
  }
}

struct Codes {
  double scale = 0;
  double zero_point = 0;

  bool operator==(const Codes&) const = default;
};
// Of a QuantizeLinear or DequantizeLinear with one scale for all.
std::optional<Codes> codes_of(const NetworkDefinition& network, const Layer& layer) {
  const auto scale = number(network, layer, 1);
  const bool given = layer.inputs.size() > 2 && layer.inputs[2] != kNoValue;
  const auto zero_point = given ? number(network, layer, 2) : std::optional<double>(0);
  if (!scale || !zero_point) return std::nullopt;
  return Codes{*scale, *zero_point};
}

// The grid that a QuantizeLinear rounds to, as u8 codes: the same one, or for 16 bits the range.
std::optional<QuantizationGrid> grid_of(const NetworkDefinition& network, const Layer& layer) {
  const std::int64_t low = layer.int_attribute("low", 0);
  const std::int64_t high = layer.int_attribute("high", 0);
  const auto codes = codes_of(network, layer);
  if (!codes || !(codes->scale > 0)) return std::nullopt;
  if (high - low > 255) {
    const auto end = [&](std::int64_t code) {
      return static_cast<float>((static_cast<double>(code) - codes->zero_point) * codes->scale);
    };
    if (!std::isfinite(end(low)) || !std::isfinite(end(high))) return std::nullopt;
    return QuantizationGrid::over(end(low), end(high), 0);
  }
  if ((low != 0 && low != -128) || high != low + 255) return std::nullopt;
  const QuantizationGrid grid{
      static_cast<float>(codes->scale),
      static_cast<std::int32_t>(codes->zero_point - static_cast<double>(low))};
  if (!valid_grid(grid, 0) || !grid) return std::nullopt;
  return grid;
}

}  // namespace

Result<PassOutcome> adopt_quantization(NetworkDefinition& network, const LoweringOptions& options) {
  PassOutcome outcome;
  if (!options.adopt_quantization) return outcome;
  const GraphIndex index(network);
  std::vector<bool> removed(network.layers.size(), false);
  std::map<ValueId, QuantizationGrid> grids;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.op != OpType::kQuantizeLinear || network.value(layer.inputs[0]).constant ||
        index.is_output(layer.outputs[0])) {
      continue;
    }
    const auto grid = grid_of(network, layer);
    const auto& readers = index.readers(layer.outputs[0]);
    const auto undoes = [&](std::size_t reader) {
      const Layer& back = network.layers[reader];
      return back.op == OpType::kDequantizeLinear && back.inputs[0] == layer.outputs[0] &&
             codes_of(network, back) == codes_of(network, layer);
    };
    if (!grid || !std::all_of(readers.begin(), readers.end(), undoes)) continue;
    // An output takes over the value's name, which the value must be free to give up.
    const auto outputs = std::count_if(readers.begin(), readers.end(), [&](std::size_t reader) {
      return index.is_output(network.layers[reader].outputs[0]);
    });
    const bool taken = !index.producer(layer.inputs[0]) ||
                       std::find(network.outputs.begin(), network.outputs.end(), layer.inputs[0]) !=
                           network.outputs.end();
    if (outputs > (taken ? 0 : 1)) continue;
    for (const std::size_t reader : readers) {
      replace_value(network, network.layers[reader].outputs[0], layer.inputs[0]);
      removed[reader] = true;
    }
    removed[i] = true;
    ++outcome.changes;
    const auto [known, is_new] = grids.emplace(layer.inputs[0], *grid);
    if (!is_new) known->second = QuantizationGrid::covering(known->second, *grid);
  }
  for (const auto& [id, grid] : grids) network.own_grids.emplace(network.value(id).name, grid);
  remove_layers(network, removed);
  return outcome;
}

}  // namespace fovea::engine
