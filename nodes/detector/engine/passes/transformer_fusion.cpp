// What exporters below opset 17 and 20 spell out: LayerNormalization and Gelu. As one layer each they
// have kernels, and read their input once instead of five times.
#include <cmath>
#include <memory>
#include <optional>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

// The one number of a constant.
std::optional<float> number(const NetworkDefinition& network, ValueId id) {
  const Constant* constant = id == kNoValue ? nullptr : float_constant(network, id);
  if (constant == nullptr || constant->packed() || constant->size() != 1) return std::nullopt;
  return *constant->data<float>();
}
bool is_number(const NetworkDefinition& network, ValueId id, float wanted) {
  const auto found = number(network, id);
  return found && std::abs(*found - wanted) <= 1e-5F * std::abs(wanted);
}

// Looks at the layers behind values.
class Matcher {
 public:
  explicit Matcher(const NetworkDefinition& network) : network_(network), index_(network) {}

  // The plain layer that writes `id`, if it is an `op`.
  const Layer* writer(ValueId id, OpType op) const {
    const auto producer = index_.producer(id);
    if (!producer) return nullptr;
    const Layer& layer = network_.layers[*producer];
    const bool plain =
        layer.op == op && layer.activation == Activation::kNone && layer.residual == kNoValue;
    return plain ? &layer : nullptr;
  }
  // The only reader of `id`, if it is an `op` with a constant as its other operand.
  std::optional<std::size_t> scaler(ValueId id, OpType op, ValueId& constant) const {
    const auto reader = index_.only_reader(id);
    if (!reader || network_.layers[*reader].op != op) return std::nullopt;
    const Layer& layer = network_.layers[*reader];
    constant = layer.inputs[layer.inputs[0] == id ? 1 : 0];
    if (constant == id || float_constant(network_, constant) == nullptr) return std::nullopt;
    return reader;
  }
  // Of a product or sum of a computed value and `wanted`: the value.
  ValueId beside_number(const Layer& layer, float wanted) const {
    for (std::size_t i = 0; i < 2; ++i) {
      if (is_number(network_, layer.inputs[i], wanted)) return layer.inputs[1 - i];
    }
    return kNoValue;
  }
  // The mean of what value along its last axis, which stays, `id` is.
  ValueId mean_of(ValueId id, const NetworkDefinition& shaped) const {
    const Layer* mean = writer(id, OpType::kReduceMean);
    if (mean == nullptr || mean->inputs.size() < 2 || mean->int_attribute("keepdims", 1) == 0) {
      return kNoValue;
    }
    const auto axes = constant_ints(network_, mean->inputs[1]);
    const auto rank = std::ssize(shaped.value(mean->inputs[0]).dims);
    const bool last =
        axes && axes->size() == 1 && (axes->front() == -1 || axes->front() == rank - 1);
    return last ? mean->inputs[0] : kNoValue;
  }

 private:
  const NetworkDefinition& network_;
  GraphIndex index_;
};

// x of (x - mean) / sqrt(mean of squares + epsilon).
struct Normalization {
  ValueId x = kNoValue;
  float epsilon = 0;
};
std::optional<Normalization> normalization_in(const NetworkDefinition& network,
                                              const NetworkDefinition& shaped,
                                              const Matcher& matcher, const Layer& quotient) {
  const ValueId centred = quotient.inputs[0];
  const Layer* difference = matcher.writer(centred, OpType::kSub);
  const Layer* root = matcher.writer(quotient.inputs[1], OpType::kSqrt);
  if (difference == nullptr || root == nullptr) return std::nullopt;
  const Layer* sum = matcher.writer(root->inputs[0], OpType::kAdd);
  if (sum == nullptr) return std::nullopt;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto epsilon = number(network, sum->inputs[i]);
    if (!epsilon) continue;
    const ValueId squares = matcher.mean_of(sum->inputs[1 - i], shaped);
    const Layer* power = squares == kNoValue ? nullptr : matcher.writer(squares, OpType::kPow);
    const Layer* product = squares == kNoValue ? nullptr : matcher.writer(squares, OpType::kMul);
    const bool squared =
        (power != nullptr && power->inputs[0] == centred &&
         is_number(network, power->inputs[1], 2)) ||
        (product != nullptr && product->inputs[0] == centred && product->inputs[1] == centred);
    const ValueId x = difference->inputs[0];
    if (squared && matcher.mean_of(difference->inputs[1], shaped) == x) {
      return Normalization{x, *epsilon};
    }
  }
  return std::nullopt;
}

bool is_vector(const NetworkDefinition& network, ValueId id, std::int64_t extent) {
  const Constant* constant = float_constant(network, id);
  return constant != nullptr && !constant->packed() && constant->dims == Dims{extent};
}

}  // namespace

Result<PassOutcome> fuse_layer_normalization(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(network));
  const Matcher matcher(network);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const Layer& quotient = network.layers[l];
    if (quotient.op != OpType::kDiv) continue;
    const auto found = normalization_in(network, shaped, matcher, quotient);
    if (!found) continue;
    const std::int64_t extent = shaped.value(found->x).dims.back();
    // Behind it a factor and a sum of one number per element, as a rule.
    std::size_t last = l;
    ValueId scale = kNoValue;
    ValueId bias = kNoValue;
    ValueId constant = kNoValue;
    if (const auto factor = matcher.scaler(quotient.outputs[0], OpType::kMul, constant);
        factor && is_vector(network, constant, extent)) {
      last = *factor;
      scale = constant;
    }
    if (const auto sum = matcher.scaler(network.layers[last].outputs[0], OpType::kAdd, constant);
        sum && is_vector(network, constant, extent)) {
      last = *sum;
      bias = constant;
    }
    if (scale == kNoValue) {
      const std::vector<float> ones(static_cast<std::size_t>(extent), 1.0F);
      scale =
          network.add_constant(quotient.name + ".scale",
                               std::make_shared<const Constant>(Constant::floats({extent}, ones)));
    }
    Layer& layer = network.layers[last];
    layer.op = OpType::kLayerNormalization;
    layer.attributes = {{"axis", std::int64_t{-1}}, {"epsilon", found->epsilon}};
    layer.inputs = {found->x, scale};
    if (bias != kNoValue) layer.inputs.push_back(bias);
    ++outcome.changes;
  }
  return outcome;
}

Result<PassOutcome> fuse_gelu(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  constexpr float kRootOfTwo = 1.41421356F;
  const Matcher matcher(network);
  for (const Layer& erf : std::vector<Layer>(network.layers)) {
    if (erf.op != OpType::kErf) continue;
    ValueId x = kNoValue;
    if (const Layer* quotient = matcher.writer(erf.inputs[0], OpType::kDiv)) {
      if (is_number(network, quotient->inputs[1], kRootOfTwo)) x = quotient->inputs[0];
    } else if (const Layer* product = matcher.writer(erf.inputs[0], OpType::kMul)) {
      x = matcher.beside_number(*product, 1 / kRootOfTwo);
    }
    ValueId constant = kNoValue;
    const auto sum = matcher.scaler(erf.outputs[0], OpType::kAdd, constant);
    if (x == kNoValue || !sum || !is_number(network, constant, 1)) continue;
    // x * (1 + erf) * 1/2, in either order.
    const GraphIndex index(network);
    const auto product = index.only_reader(network.layers[*sum].outputs[0]);
    if (!product || network.layers[*product].op != OpType::kMul) continue;
    const Layer& first = network.layers[*product];
    const ValueId other = first.inputs[first.inputs[0] == network.layers[*sum].outputs[0] ? 1 : 0];
    std::optional<std::size_t> last;
    if (other == x) {
      last = matcher.scaler(first.outputs[0], OpType::kMul, constant);
      if (last && !is_number(network, constant, 0.5F)) last.reset();
    } else if (const Layer* half = matcher.writer(other, OpType::kMul)) {
      if (matcher.beside_number(*half, 0.5F) == x) last = product;
    }
    if (!last) continue;
    Layer& layer = network.layers[*last];
    layer.op = OpType::kGelu;
    layer.attributes = {};
    layer.inputs = {x};
    ++outcome.changes;
  }
  return outcome;
}

}  // namespace fovea::engine
