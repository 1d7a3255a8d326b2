// Keeps only the tensors that a later layer still reads.
#include "nodes/detector/engine/reference/evaluate.hpp"

#include <fmt/core.h>

#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::reference {

Result<std::vector<Tensor>> evaluate_known(const Layer& layer,
                                           std::span<const TensorInfo* const> inputs,
                                           const std::vector<TensorInfo>& outputs) {
  std::vector<Tensor> extents_only(inputs.size());
  std::vector<Tensor> results;
  results.reserve(outputs.size());
  for (const TensorInfo& output : outputs)
    results.push_back(Tensor::make(output.dtype, output.dims));
  Operands operands{&layer, {}, {}, nullptr};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == nullptr) {
      operands.inputs.push_back(nullptr);
    } else if (inputs[i]->known != nullptr) {
      operands.inputs.push_back(inputs[i]->known);
    } else {
      extents_only[i] = {inputs[i]->dtype, inputs[i]->dims, {}};
      operands.inputs.push_back(&extents_only[i]);
    }
  }
  for (Tensor& result : results) operands.outputs.push_back(&result);
  FOVEA_ASSIGN(const Kernel kernel, prepare(operands));
  FOVEA_TRY(kernel());
  return results;
}

Result<TensorMap> evaluate(const NetworkDefinition& network, const TensorMap& inputs) {
  NetworkDefinition shaped = network;
  std::int64_t batch = 1;
  for (const ValueId id : network.inputs) {
    const Value& input = network.value(id);
    const auto given = inputs.find(input.name);
    if (given == inputs.end()) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("input '{}' is not given", input.name));
    }
    if (!input.dims.empty() && input.dims[0] == -1 && !given->second.dims.empty()) {
      batch = given->second.dims[0];
    }
  }
  FOVEA_ASSIGN(KnownValues known, infer_known_values(shaped, batch));

  std::vector<std::shared_ptr<const Tensor>> tensors(known.begin(), known.end());
  for (const ValueId id : shaped.inputs) {
    const Value& input = shaped.value(id);
    const Tensor& given = inputs.at(input.name);
    if (given.dtype != input.dtype || given.dims != input.dims) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("input '{}' is {} {}; it must be {} {}", input.name, to_string(given.dtype),
                      to_string(given.dims), to_string(input.dtype), to_string(input.dims)));
    }
    tensors[static_cast<std::size_t>(id)] =
        std::shared_ptr<const Tensor>(&given, [](const Tensor*) {});
  }

  std::vector<std::size_t> last_reader(shaped.values.size(), 0);
  for (std::size_t l = 0; l < shaped.layers.size(); ++l) {
    const Layer& layer = shaped.layers[l];
    for (const ValueId id : layer.inputs) {
      if (id != kNoValue) last_reader[static_cast<std::size_t>(id)] = l;
    }
    if (layer.residual != kNoValue) last_reader[static_cast<std::size_t>(layer.residual)] = l;
  }
  for (const ValueId id : shaped.outputs)
    last_reader[static_cast<std::size_t>(id)] = shaped.layers.size();

  for (std::size_t l = 0; l < shaped.layers.size(); ++l) {
    const Layer& layer = shaped.layers[l];
    if (known[static_cast<std::size_t>(layer.outputs[0])] != nullptr) continue;
    const auto tensor_of = [&](ValueId id) {
      return id == kNoValue ? nullptr : tensors[static_cast<std::size_t>(id)].get();
    };
    Operands operands{&layer, {}, {}, tensor_of(layer.residual)};
    for (const ValueId id : layer.inputs) operands.inputs.push_back(tensor_of(id));
    for (const ValueId id : layer.outputs) {
      const Value& value = shaped.value(id);
      auto tensor = std::make_shared<Tensor>(Tensor::make(value.dtype, value.dims));
      operands.outputs.push_back(tensor.get());
      tensors[static_cast<std::size_t>(id)] = std::move(tensor);
    }
    auto kernel = prepare(operands);
    const auto ran = kernel ? (*kernel)() : Result<>(fail(kernel.error()));
    if (!ran) {
      return fail(ran.error().with_context(
          fmt::format("layer '{}' ({})", layer.name, to_string(layer.op))));
    }
    for (const ValueId id : layer.inputs) {
      if (id != kNoValue && last_reader[static_cast<std::size_t>(id)] == l) {
        tensors[static_cast<std::size_t>(id)].reset();
      }
    }
  }

  TensorMap outputs;
  for (const ValueId id : shaped.outputs) {
    outputs[shaped.value(id).name] = *tensors[static_cast<std::size_t>(id)];
  }
  return outputs;
}

}  // namespace fovea::engine::reference
