// Uses are found from the network's end to its start: a convolution's output is
// needed in its own home only if something reads it there.
#include "nodes/detector/engine/cpu/native/analysis.hpp"

#include <algorithm>

#include "nodes/detector/engine/cpu/native/moved_view.hpp"
#include "nodes/detector/engine/cpu/native/tensor_steps.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/quantization/quantization.hpp"

namespace fovea::engine::cpu::native {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

}  // namespace

std::optional<Activation> activation_of(OpType op) {
  switch (op) {
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

Analysis::Analysis(const NetworkDefinition& network, const KnownValues& known, Storage& storage)
    : network_(network),
      known_(known),
      storage_(storage),
      writers_(network.values.size(), -1),
      used_(network.values.size(), false),
      in_place_(network.layers.size()),
      extras_(network.layers.size()),
      written_(network.layers.size(), false),
      attention_(network.layers.size(), 0) {
  for (std::size_t i = 0; i < network_.layers.size(); ++i) {
    paths_.push_back(path_of(network_.layers[i]));
    for (const ValueId id : network_.layers[i].outputs) {
      writers_[index(id)] = static_cast<std::int32_t>(i);
    }
  }
  find_attentions();
  place();
  find_uses();
}

void Analysis::find_attentions() {
  AttentionSearch search = find_attention(network_, known_, storage_);
  attentions_ = std::move(search.found);
  declined_ = std::move(search.declined);
  for (std::size_t i = 0; i < attentions_.size(); ++i) {
    for (const std::size_t layer : attentions_[i].layers) paths_[layer] = Path::kFused;
    paths_[attentions_[i].layers.back()] = Path::kAttention;
    attention_[attentions_[i].layers.back()] = i;
  }
}

bool Analysis::pictures(const std::vector<ValueId>& ids) const {
  return std::all_of(ids.begin(), ids.end(), [&](ValueId id) {
    return id != kNoValue && storage_.is_picture(id) && known_[index(id)] == nullptr;
  });
}

Path Analysis::path_of(const Layer& layer) const {
  const Path path = picture_path(layer);
  return path == Path::kFallback && is_tensor_layer(network_, known_, layer) ? Path::kTensor : path;
}

Path Analysis::picture_path(const Layer& layer) const {
  if (known_[index(layer.outputs[0])] != nullptr) return Path::kKnown;
  if (layer.op == OpType::kImageInput) return Path::kImage;
  if (layer.op == OpType::kConv)
    return is_convolution(layer) ? Path::kConvolution : Path::kFallback;
  if (moves_data(network_, layer)) {
    switch (layer.op) {
      case OpType::kConcat:
        return pictures(layer.inputs) ? Path::kConcat : Path::kFallback;
      case OpType::kSplit:
        return pictures({layer.inputs[0]}) && !storage_.is_image(layer.inputs[0]) ? Path::kSplit
                                                                                  : Path::kFallback;
      case OpType::kMaxPool:
        return is_pool(layer) ? Path::kPool : Path::kFallback;
      default:
        return pictures({layer.inputs[0]}) ? Path::kUpsample : Path::kFallback;
    }
  }
  if (is_average(layer)) return Path::kAverage;
  const bool plain = layer.activation == Activation::kNone && layer.residual == kNoValue &&
                     pictures(layer.inputs) && pictures(layer.outputs);
  if (layer.op == OpType::kResize)
    return is_interpolation(layer) ? Path::kInterpolate : Path::kFallback;
  if (plain && activation_of(layer.op)) return Path::kPointwise;
  if (plain && layer.op == OpType::kAdd && dims(layer.inputs[0]) == dims(layer.inputs[1])) {
    return Path::kPointwise;
  }
  return Path::kFallback;
}

const Constant* Analysis::constant(const Layer& layer, std::size_t input) const {
  if (input >= layer.inputs.size() || layer.inputs[input] == kNoValue) return nullptr;
  return known_[index(layer.inputs[input])].get();
}

bool Analysis::is_convolution(const Layer& layer) const {
  if (!pictures({layer.inputs[0]}) || !pictures(layer.outputs)) return false;
  if (layer.residual != kNoValue && !pictures({layer.residual})) return false;
  const Constant* weights = constant(layer, 1);
  if (weights == nullptr || weights->type() != DataType::kFloat32 || weights->dims.size() != 4) {
    return false;
  }
  const bool has_bias = layer.inputs.size() > 2 && layer.inputs[2] != kNoValue;
  return !has_bias ||
         (constant(layer, 2) != nullptr && constant(layer, 2)->dtype == DataType::kFloat32);
}

bool Analysis::is_pool(const Layer& layer) const {
  const auto dilations = layer.ints_attribute("dilations", {1, 1});
  return pictures({layer.inputs[0]}) && dilations == std::vector<std::int64_t>{1, 1};
}

bool Analysis::is_average(const Layer& layer) const {
  if (layer.op != OpType::kAveragePool && layer.op != OpType::kGlobalAveragePool) return false;
  return layer.activation == Activation::kNone && layer.residual == kNoValue && is_pool(layer) &&
         !storage_.is_image(layer.inputs[0]) && pictures(layer.outputs);
}

bool Analysis::is_interpolation(const Layer& layer) const {
  return layer.activation == Activation::kNone && layer.residual == kNoValue &&
         pictures({layer.inputs[0]}) && pictures(layer.outputs) &&
         !storage_.is_image(layer.inputs[0]) &&
         dims(layer.inputs[0])[1] == dims(layer.outputs[0])[1] &&
         (constant(layer, 2) != nullptr || constant(layer, 3) != nullptr);
}

void Analysis::place() {
  for (std::size_t i = 0; i < paths_.size(); ++i) {
    if (paths_[i] == Path::kSplit) storage_.split(network_.layers[i]);
  }
  for (std::size_t i = paths_.size(); i-- > 0;) {
    if (paths_[i] == Path::kConcat) in_place_[i] = storage_.concat(network_.layers[i]);
  }
}

std::optional<Origin> Analysis::origin(ValueId id) const {
  Origin result;
  while (writers_[index(id)] >= 0) {
    result.layer = index(writers_[index(id)]);
    const Layer& layer = network_.layers[result.layer];
    switch (paths_[result.layer]) {
      case Path::kConvolution:
        return result;
      case Path::kSplit:
        for (const ValueId part : layer.outputs) {
          if (part == id) break;
          result.first += dims(part)[1];
        }
        break;
      case Path::kUpsample:
        if (result.repeat != 1) return std::nullopt;
        result.repeat = 2;
        break;
      default:
        return std::nullopt;
    }
    id = layer.inputs[0];
  }
  return std::nullopt;
}

void Analysis::use(ValueId id) {
  if (id != kNoValue) used_[index(id)] = true;
}
// `id` must also appear as `extra` says: written by its convolution, or copied from its home.
void Analysis::want(ValueId id, Extra extra) {
  if (const auto from = origin(id)) {
    extra.origin = *from;
    extra.channels = dims(id)[1];
    extras_[from->layer].push_back(extra);
  } else {
    use(id);
  }
}
// The picture `id` consists of channels of a convolution's output, in another order or some of them
// (the values of several heads): the convolution then writes them there, too.
bool Analysis::want_channels(ValueId id) {
  constexpr std::int64_t kFewest = 8;  // side by side; a copy moves single channels as well
  if (!storage_.is_picture(id)) return false;
  std::vector<std::pair<std::size_t, ValueId>> chain;
  ValueId from = id;
  while (writers_[index(from)] >= 0) {
    const std::size_t writer = index(writers_[index(from)]);
    if (paths_[writer] != Path::kTensor || !only_moves(network_.layers[writer])) break;
    chain.emplace_back(writer, from);
    from = network_.layers[writer].inputs[0];
  }
  const auto start = origin(from);
  if (chain.empty() || !start || start->repeat != 1 || !storage_.is_picture(from)) return false;
  const Dims& extents = dims(from);
  MovedView view(extents, channels_last(extents));
  for (std::size_t i = chain.size(); i-- > 0;) {
    const Layer& layer = network_.layers[chain[i].first];
    if (!view.follow(network_, known_, layer, chain[i].second)) return false;
  }
  const auto same = [&](std::size_t axis, std::int64_t stride) {
    return dims(id)[axis] == extents[axis] && (extents[axis] == 1 || view.stride(axis) == stride);
  };
  if (!same(2, extents[3] * extents[1]) || !same(3, extents[1])) return false;
  std::vector<Extra> runs;
  std::int64_t channel = 0;
  for (const std::int64_t step : view.steps(1, 2)) {
    const std::int64_t at = view.offset() + step;
    if (at >= extents[1]) return false;
    if (runs.empty() || runs.back().origin.first + runs.back().channels != start->first + at) {
      runs.push_back({.origin = {start->layer, start->first + at, 1},
                      .channels = 0,
                      .whole = id,
                      .channel = channel});
    }
    ++runs.back().channels;
    ++channel;
  }
  for (const Extra& run : runs) {
    if (run.channels < kFewest) return false;
  }
  auto& extras = extras_[start->layer];
  extras.insert(extras.end(), runs.begin(), runs.end());
  return true;
}

bool Analysis::is_map(ValueId id) const {
  return network_.head.spec.channels_last(network_.value(id).name) && storage_.is_picture(id) &&
         known_[index(id)] == nullptr;
}

void Analysis::find_uses() {
  for (std::size_t i = 0; i < network_.outputs.size(); ++i) {
    const ValueId id = network_.outputs[i];
    if (is_map(id)) {
      want(id, {.output = static_cast<std::int32_t>(i)});
    } else {
      use(id);
    }
  }
  // Readers come after writers, so going backwards every use is known in time.
  for (std::size_t i = paths_.size(); i-- > 0;) find_layer_uses(i);
}

void Analysis::find_layer_uses(std::size_t i) {
  const Layer& layer = network_.layers[i];
  const auto used = [&](ValueId id) { return used_[index(id)]; };
  switch (paths_[i]) {
    case Path::kKnown:
    case Path::kImage:
      break;
    case Path::kConvolution:
      if (!storage_.is_image(layer.inputs[0])) use(layer.inputs[0]);
      use(layer.residual);
      break;
    case Path::kPool:
    case Path::kAverage:
      use(layer.inputs[0]);
      break;
    case Path::kInterpolate:
      if (used(layer.outputs[0])) use(layer.inputs[0]);
      break;
    case Path::kSplit:
      if (std::any_of(layer.outputs.begin(), layer.outputs.end(), used)) use(layer.inputs[0]);
      break;
    case Path::kUpsample:
      if (used(layer.outputs[0])) want(layer.outputs[0], {.whole = layer.outputs[0]});
      // want() marks the output, not the input, of an upsampling that nothing can fuse.
      if (used(layer.outputs[0]) && !origin(layer.outputs[0])) use(layer.inputs[0]);
      break;
    case Path::kConcat: {
      if (!used(layer.outputs[0])) break;
      std::int64_t channel = 0;
      for (std::size_t part = 0; part < layer.inputs.size(); ++part) {
        const ValueId id = layer.inputs[part];
        if (in_place_[i][part]) {
          use(id);
        } else {
          want(id, {.whole = layer.outputs[0], .channel = channel});
        }
        channel += dims(id)[1];
      }
      break;
    }
    case Path::kFused:
      break;
    case Path::kAttention:
      for (const ValueId id : {attention(i).q, attention(i).k, attention(i).v}) use(id);
      break;
    case Path::kTensor:
      if (std::none_of(layer.outputs.begin(), layer.outputs.end(), used)) break;
      if (layer.outputs.size() == 1 && want_channels(layer.outputs[0])) {
        written_[i] = true;
        break;
      }
      [[fallthrough]];
    case Path::kPointwise:
    case Path::kFallback:
      for (const ValueId id : layer.inputs) use(id);
      use(layer.residual);
      break;
  }
}

}  // namespace fovea::engine::cpu::native
