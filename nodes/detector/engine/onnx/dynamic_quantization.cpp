#include "nodes/detector/engine/onnx/dynamic_quantization.hpp"

#include <memory>
#include <utility>

#include <fmt/core.h>

namespace fovea::engine {

namespace {

void set_constant(NetworkDefinition& network, ValueId id, Constant constant) {
  Value& value = network.value(id);
  value.dtype = constant.dtype;
  value.dims = constant.dims;
  value.constant = std::make_shared<const Constant>(std::move(constant));
}

const Constant* integers(const NetworkDefinition& network, ValueId id) {
  if (id == kNoValue) return nullptr;
  const Constant* constant = network.value(id).constant.get();
  return constant != nullptr && constant->dtype == DataType::kInt64 ? constant : nullptr;
}

// code - zero point, one zero point for all or one per extent of `axis`.
Result<Constant> centred(const Constant& codes, const Constant* zero, std::size_t axis) {
  std::int64_t run = 1;
  for (std::size_t i = axis + 1; i < codes.dims.size(); ++i) run *= codes.dims[i];
  const std::int64_t zeros = zero == nullptr ? 1 : zero->size();
  if (zeros != 1 && (axis >= codes.dims.size() || zeros != codes.dims[axis])) {
    return fail(ErrorCode::kCorrupt, fmt::format("{} zero points do not fit axis {} of {}", zeros,
                                                 axis, to_string(codes.dims)));
  }
  Constant numbers = Constant::make(DataType::kFloat32, codes.dims);
  const auto* from = codes.data<std::int64_t>();
  for (std::int64_t i = 0; i < codes.size(); ++i) {
    const std::int64_t offset =
        zero == nullptr ? 0 : zero->data<std::int64_t>()[zeros == 1 ? 0 : i / run % zeros];
    numbers.data<float>()[i] =
        static_cast<float>(static_cast<double>(from[i]) - static_cast<double>(offset));
  }
  return numbers;
}

}  // namespace

void DynamicQuantization::take_quantizer(Layer& layer, NetworkDefinition& network) {
  if (layer.outputs.size() > 1) set_constant(network, layer.outputs[1], Constant::floats({}, {1}));
  if (layer.outputs.size() > 2) {
    Constant zero = Constant::ints({0});
    zero.dims.clear();
    set_constant(network, layer.outputs[2], std::move(zero));
    zero_points_[layer.outputs[0]] = layer.outputs[2];
  }
  layer.outputs.resize(1);
}

Result<> DynamicQuantization::take_product(Layer& layer, NetworkDefinition& network) const {
  for (std::size_t i = 0; i < 2; ++i) {
    const ValueId zero = i + 2 < layer.inputs.size() ? layer.inputs[i + 2] : kNoValue;
    const auto dynamic = zero_points_.find(layer.inputs[i]);
    if (dynamic != zero_points_.end() && dynamic->second == zero) continue;
    const Constant* codes = integers(network, layer.inputs[i]);
    const Constant* offset = integers(network, zero);
    if (codes == nullptr || (zero != kNoValue && offset == nullptr)) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("operand {} and its zero point must be constants, or come from the "
                              "same DynamicQuantizeLinear",
                              i));
    }
    // Zero points per channel belong to a convolution's outputs or to a matrix' columns.
    const bool columns = layer.op == OpType::kMatMul && i == 1 && !codes->dims.empty();
    FOVEA_ASSIGN(Constant numbers, centred(*codes, offset, columns ? codes->dims.size() - 1 : 0));
    layer.inputs[i] = network.add_constant(fmt::format("{}.operand{}", layer.name, i),
                                           std::make_shared<const Constant>(std::move(numbers)));
  }
  layer.inputs.resize(2);
  return {};
}

}  // namespace fovea::engine
