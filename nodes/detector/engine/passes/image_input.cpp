// The network reads camera pixels as they are: u8, RGB, interleaved.
#include <fmt/core.h>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

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
  const bool integers = original.dtype == DataType::kUint8;
  if (dims.size() != 4 || dims[1] != 3 || (!integers && original.dtype != DataType::kFloat32)) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("input '{}' is {} {}; it must be float32 or uint8 [batch, 3, height, width]",
                    original.name, to_string(original.dtype), to_string(dims)));
  }

  // The old value stays what layers read; a new one becomes the input.
  Layer layer;
  layer.name = original.name + ".image";
  layer.op = OpType::kImageInput;
  layer.outputs = {input};
  Value image{original.name, DataType::kUint8, {dims[0], dims[2], dims[3], 3}, nullptr};
  network.value(input).name = original.name + ".planar";
  network.value(input).dtype = DataType::kFloat32;
  const ValueId image_id = network.add_value(std::move(image));
  layer.inputs = {image_id};
  network.inputs[0] = image_id;
  network.layers.insert(network.layers.begin(), std::move(layer));
  outcome.changes = 1;
  outcome.note = fmt::format("'{}' is uint8 [batch, {}, {}, 3]", original.name, dims[2], dims[3]);
  if (integers) return outcome;

  constexpr float kScale = 1.0F / 255.0F;
  const GraphIndex index(network);
  bool foldable = !index.is_output(input);
  for (const std::size_t reader : index.readers(input)) {
    const Layer& conv = network.layers[reader];
    foldable = foldable && conv.op == OpType::kConv && conv.inputs[0] == input &&
               conv.residual != input && float_constant(network, conv.inputs[1]) != nullptr;
  }
  if (foldable) {
    for (const std::size_t reader : index.readers(input)) {
      // Zero padding stays zero, so scaling the weights is exact at the border too.
      auto weights =
          std::make_shared<Constant>(*network.value(network.layers[reader].inputs[1]).constant);
      for (std::int64_t i = 0; i < weights->size(); ++i) weights->data<float>()[i] *= kScale;
      const std::string name = network.layers[reader].name + ".weight";
      network.layers[reader].inputs[1] = network.add_constant(name, std::move(weights));
    }
    return outcome;
  }
  const ValueId scaled =
      network.add_value({original.name + ".scaled", DataType::kFloat32, dims, nullptr});
  replace_value(network, input, scaled);
  Layer scale;
  scale.name = original.name + ".scale";
  scale.op = OpType::kMul;
  scale.inputs = {input, network.add_constant(
                             scale.name + ".factor",
                             std::make_shared<const Constant>(Constant::floats({}, {kScale})))};
  scale.outputs = {scaled};
  network.layers.insert(network.layers.begin() + 1, std::move(scale));
  outcome.note += "; its scale stays a layer of its own";
  return outcome;
}

}  // namespace fovea::engine
