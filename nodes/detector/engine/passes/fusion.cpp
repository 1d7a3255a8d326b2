// Passes that merge layers into the one before them.
#include <cmath>

#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

bool is_plain(const Layer& layer) {
  return layer.activation == Activation::kNone && layer.residual == kNoValue;
}

// Output channel of each weight, for Conv [out, in/g, kh, kw] and ConvTranspose [in, out/g, kh,
// kw].
std::size_t output_channel(const Layer& layer, const Dims& weights, std::size_t index) {
  const auto plane = static_cast<std::size_t>(weights[2] * weights[3]);
  const auto second = static_cast<std::size_t>(weights[1]);
  if (layer.op == OpType::kConv) return index / plane / second;
  const std::size_t in = index / plane / second;
  const std::size_t in_per_group =
      static_cast<std::size_t>(weights[0] / layer.int_attribute("group", 1));
  return in / in_per_group * second + index / plane % second;
}

std::optional<Activation> activation_of(const Layer& layer) {
  switch (layer.op) {
    case OpType::kSilu:
      return Activation::kSilu;
    case OpType::kRelu:
      return Activation::kRelu;
    case OpType::kLeakyRelu:
      return Activation::kLeakyRelu;
    case OpType::kSigmoid:
      return Activation::kSigmoid;
    case OpType::kHardSwish:
      return Activation::kHardSwish;
    default:
      return std::nullopt;
  }
}

// `layer` takes over `follower`: its output, its place in the order, its name in the report. What
// is left at the old place is to be removed.
void absorb(Layer& layer, Layer& follower) {
  layer.fused.push_back(follower.name);
  layer.fused.insert(layer.fused.end(), follower.fused.begin(), follower.fused.end());
  layer.outputs = std::move(follower.outputs);
  follower = std::move(layer);
  layer = Layer{};  // reads and writes nothing until it is removed
}

// A constant that adds one number per channel to [N, C, H, W].
bool is_channel_bias(const Constant& constant, std::int64_t channels) {
  const Dims& dims = constant.dims;
  if (dims.size() < 3 || dims.size() > 4 || constant.size() != channels) return false;
  return dims[dims.size() - 3] == channels;
}

class ConvolutionFuser {
 public:
  explicit ConvolutionFuser(NetworkDefinition& network, const NetworkDefinition& shaped)
      : network_(network), shaped_(shaped), removed_(network.layers.size(), false) {}

  std::size_t run() {
    // Fusing moves a convolution to its follower's place, so going forward meets it again there.
    for (std::size_t l = 0; l < network_.layers.size(); ++l) {
      if (network_.layers[l].op == OpType::kConv && !removed_[l]) fuse(l);
    }
    remove_layers(network_, removed_);
    return changes_;
  }

 private:
  void fuse(std::size_t l) {
    const GraphIndex index(network_);
    Layer& conv = network_.layers[l];
    const ValueId output = conv.outputs[0];
    const auto reader = index.only_reader(output);
    if (!reader || removed_[*reader]) return;
    Layer& follower = network_.layers[*reader];
    if (const auto activation = activation_of(follower); activation && is_plain(conv)) {
      conv.activation = *activation;
      conv.activation_alpha = follower.float_attribute("alpha", 0.01F);
    } else if (follower.op == OpType::kAdd && conv.residual == kNoValue) {
      const ValueId other = follower.inputs[follower.inputs[0] == output ? 1 : 0];
      const Constant* constant = float_constant(network_, other);
      const Value& shape = shaped_.value(output);
      if (constant != nullptr) {
        if (!is_plain(conv) || !is_channel_bias(*constant, shape.dims[1])) return;
        if (!add_bias(conv, *constant)) return;
      } else if (shaped_.value(other).dims == shape.dims && other != output) {
        conv.residual = other;
      } else {
        return;
      }
    } else {
      return;
    }
    absorb(conv, follower);
    removed_[l] = true;
    ++changes_;
  }

  bool add_bias(Layer& conv, const Constant& addend) {
    const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
    const Constant* bias = has_bias ? float_constant(network_, conv.inputs[2]) : nullptr;
    if (has_bias && bias == nullptr) return false;
    Constant sum = Constant::make(DataType::kFloat32, {addend.size()});
    for (std::int64_t c = 0; c < addend.size(); ++c) {
      sum.data<float>()[c] =
          addend.data<float>()[c] + (bias != nullptr ? bias->data<float>()[c] : 0.0F);
    }
    conv.inputs.resize(3, kNoValue);
    conv.inputs[2] = network_.add_constant(conv.name + ".bias",
                                           std::make_shared<const Constant>(std::move(sum)));
    return true;
  }

  NetworkDefinition& network_;
  const NetworkDefinition& shaped_;
  std::vector<bool> removed_;
  std::size_t changes_ = 0;
};

}  // namespace

Result<PassOutcome> fold_scales(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  std::vector<bool> removed(network.layers.size(), false);
  const GraphIndex index(network);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    Layer& multiply = network.layers[l];
    if (multiply.op != OpType::kMul) continue;
    const std::size_t side = network.value(multiply.inputs[0]).constant ? 1 : 0;
    const Constant* scale = float_constant(network, multiply.inputs[1 - side]);
    const auto before = index.producer(multiply.inputs[side]);
    if (scale == nullptr || !before || index.only_reader(multiply.inputs[side]) != l) continue;
    Layer& conv = network.layers[*before];
    if (conv.op != OpType::kConv || !is_plain(conv)) continue;
    const Constant* weights = float_constant(network, conv.inputs[1]);
    const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
    const Constant* bias = has_bias ? float_constant(network, conv.inputs[2]) : nullptr;
    if (weights == nullptr || weights->dims.size() != 4 || (has_bias && bias == nullptr)) continue;
    const bool one = scale->size() == 1 && scale->dims.size() <= 4;
    if (!one && !is_channel_bias(*scale, weights->dims[0])) continue;

    const auto factor = [&](std::size_t channel) {
      return scale->data<float>()[one ? 0 : channel];
    };
    auto folded = std::make_shared<Constant>(*weights);
    for (std::size_t i = 0; i < static_cast<std::size_t>(folded->size()); ++i) {
      folded->data<float>()[i] *= factor(output_channel(conv, folded->dims, i));
    }
    if (has_bias) {
      auto scaled = std::make_shared<Constant>(*bias);
      for (std::size_t c = 0; c < static_cast<std::size_t>(scaled->size()); ++c) {
        scaled->data<float>()[c] *= factor(c);
      }
      conv.inputs[2] = network.add_constant(conv.name + ".scaled_bias", std::move(scaled));
    }
    conv.inputs[1] = network.add_constant(conv.name + ".scaled", std::move(folded));
    absorb(conv, multiply);
    removed[*before] = true;
    ++outcome.changes;
  }
  remove_layers(network, removed);
  return outcome;
}

Result<PassOutcome> fold_batch_normalization(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  std::vector<bool> removed(network.layers.size(), false);
  const GraphIndex index(network);
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    Layer& normalization = network.layers[l];
    if (normalization.op != OpType::kBatchNormalization) continue;
    const auto before = index.producer(normalization.inputs[0]);
    if (!before || index.only_reader(normalization.inputs[0]) != l) continue;
    Layer& conv = network.layers[*before];
    if ((conv.op != OpType::kConv && conv.op != OpType::kConvTranspose) || !is_plain(conv))
      continue;
    const Constant* parameters[4];
    bool constant = true;
    for (std::size_t i = 0; i < 4; ++i) {
      parameters[i] = float_constant(network, normalization.inputs[i + 1]);
      constant = constant && parameters[i] != nullptr;
    }
    const Constant* weights = float_constant(network, conv.inputs[1]);
    const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
    const Constant* bias = has_bias ? float_constant(network, conv.inputs[2]) : nullptr;
    if (!constant || weights == nullptr || (has_bias && bias == nullptr)) continue;

    const auto& [scale, shift, mean, variance] = parameters;
    const std::size_t channels = static_cast<std::size_t>(scale->size());
    const float epsilon = normalization.float_attribute("epsilon", 1e-5F);
    std::vector<float> factors(channels);
    std::vector<float> offsets(channels);
    for (std::size_t c = 0; c < channels; ++c) {
      // In f64: 1 / sqrt of a tiny variance magnifies every rounding.
      const double factor =
          static_cast<double>(scale->data<float>()[c]) /
          std::sqrt(static_cast<double>(variance->data<float>()[c]) + static_cast<double>(epsilon));
      const double old_bias = bias != nullptr ? static_cast<double>(bias->data<float>()[c]) : 0.0;
      factors[c] = static_cast<float>(factor);
      offsets[c] =
          static_cast<float>((old_bias - static_cast<double>(mean->data<float>()[c])) * factor +
                             static_cast<double>(shift->data<float>()[c]));
    }
    auto folded = std::make_shared<Constant>(*weights);
    for (std::size_t i = 0; i < static_cast<std::size_t>(folded->size()); ++i) {
      folded->data<float>()[i] *= factors[output_channel(conv, folded->dims, i)];
    }
    conv.inputs.resize(3, kNoValue);
    conv.inputs[1] = network.add_constant(conv.name + ".weight", std::move(folded));
    conv.inputs[2] = network.add_constant(
        conv.name + ".bias", std::make_shared<const Constant>(
                                 Constant::floats({static_cast<std::int64_t>(channels)}, offsets)));
    absorb(conv, normalization);
    removed[*before] = true;
    ++outcome.changes;
  }
  remove_layers(network, removed);
  return outcome;
}

Result<PassOutcome> fuse_silu(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  const GraphIndex index(network);
  std::vector<bool> removed(network.layers.size(), false);
  for (Layer& multiply : network.layers) {
    if (multiply.op != OpType::kMul) continue;
    for (std::size_t side = 0; side < 2; ++side) {
      const ValueId gate = multiply.inputs[side];
      const ValueId x = multiply.inputs[1 - side];
      const auto producer = index.producer(gate);
      if (!producer) continue;
      const Layer& sigmoid = network.layers[*producer];
      if (sigmoid.op != OpType::kSigmoid || sigmoid.inputs[0] != x) continue;
      multiply.op = OpType::kSilu;
      multiply.inputs = {x};
      multiply.fused.push_back(sigmoid.name);
      removed[*producer] = index.only_reader(gate).has_value();
      ++outcome.changes;
      break;
    }
  }
  remove_layers(network, removed);
  return outcome;
}

Result<PassOutcome> fuse_convolutions(NetworkDefinition& network, const LoweringOptions&) {
  FOVEA_ASSIGN(const NetworkDefinition shaped, with_shapes(network));
  PassOutcome outcome;
  outcome.changes = ConvolutionFuser(network, shaped).run();
  return outcome;
}

}  // namespace fovea::engine
