// Makes networks in code, layer by layer, as the parser would: float inputs, any operator, any
// outputs.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine::test {

using reference::Tensor;
using reference::TensorMap;

inline Tensor floats(Dims dims, const std::vector<float>& values) {
  return Tensor::floats(std::move(dims), values);
}
inline Tensor ints(const std::vector<std::int64_t>& values) { return Tensor::ints(values); }
inline Tensor scalar(std::int64_t value) {
  Tensor tensor = Tensor::ints({value});
  tensor.dims.clear();
  return tensor;
}
inline Tensor bools(Dims dims, const std::vector<std::uint8_t>& values) {
  Tensor tensor = Tensor::make(DataType::kBool, std::move(dims));
  for (std::size_t i = 0; i < values.size(); ++i) tensor.data<std::uint8_t>()[i] = values[i];
  return tensor;
}

// Uniform in -range..range; equal seeds give equal tensors.
inline Tensor noise(Dims dims, std::uint64_t seed, float range = 1.0F) {
  Tensor tensor = Tensor::make(DataType::kFloat32, std::move(dims));
  std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    tensor.data<float>()[i] =
        (static_cast<float>(state >> 40) / static_cast<float>(1 << 23) - 1.0F) * range;
  }
  return tensor;
}

class GraphMaker {
 public:
  ValueId input(const std::string& name, Dims dims, DataType dtype = DataType::kFloat32) {
    const ValueId id = network_.add_value({name, dtype, std::move(dims), nullptr});
    network_.inputs.push_back(id);
    return id;
  }
  ValueId constant(Tensor tensor) {
    return network_.add_constant("constant" + std::to_string(network_.values.size()),
                                 std::make_shared<const Constant>(std::move(tensor)));
  }
  std::vector<ValueId> add_many(OpType op, std::vector<ValueId> inputs,
                                std::map<std::string, Attribute> attributes, std::size_t outputs) {
    Layer layer;
    layer.name = std::string(to_string(op)) + std::to_string(network_.layers.size());
    layer.op = op;
    layer.inputs = std::move(inputs);
    layer.attributes = std::move(attributes);
    for (std::size_t i = 0; i < outputs; ++i) {
      layer.outputs.push_back(network_.add_value(
          {layer.name + ":" + std::to_string(i), DataType::kFloat32, {}, nullptr}));
    }
    network_.layers.push_back(layer);
    return layer.outputs;
  }
  ValueId add(OpType op, std::vector<ValueId> inputs,
              std::map<std::string, Attribute> attributes = {}) {
    return add_many(op, std::move(inputs), std::move(attributes), 1)[0];
  }
  // Square kernel, "same" padding for odd ones; random weights.
  ValueId conv(ValueId x, std::int64_t in, std::int64_t out, std::int64_t kernel = 1,
               std::int64_t stride = 1) {
    const std::uint64_t seed = network_.values.size();
    const std::int64_t pad = kernel % 2 == 1 ? kernel / 2 : 0;
    return add(OpType::kConv,
               {x, constant(noise({out, in, kernel, kernel}, seed, 0.5F)),
                constant(noise({out}, seed + 1, 0.5F))},
               {{"strides", std::vector<std::int64_t>{stride, stride}},
                {"pads", std::vector<std::int64_t>{pad, pad, pad, pad}}});
  }
  ValueId silu(ValueId x) { return add(OpType::kMul, {x, add(OpType::kSigmoid, {x})}); }

  NetworkDefinition& network() { return network_; }
  // Names the outputs "y0", "y1", ...
  NetworkDefinition finish(const std::vector<ValueId>& outputs) {
    network_.outputs = outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      network_.value(outputs[i]).name = "y" + std::to_string(i);
    }
    return network_;
  }

 private:
  NetworkDefinition network_;
};

// "Conv,Sigmoid,Mul": the operators in order.
inline std::string op_list(const NetworkDefinition& network) {
  std::string text;
  for (const Layer& layer : network.layers) {
    text += (text.empty() ? "" : ",") + std::string(to_string(layer.op));
  }
  return text;
}

}  // namespace fovea::engine::test
