#include "nodes/detector/engine/cuda/layout.hpp"

#include <algorithm>

#include "nodes/detector/engine/program/strides.hpp"
#include "nodes/detector/engine/quantization/quantization.hpp"

namespace fovea::engine::cuda {

namespace {

constexpr std::int64_t kImageAlignment = 256;

// Values from which a convolution can still be reached.
std::vector<bool> ahead_of_convolutions(const NetworkDefinition& network) {
  std::vector<bool> ahead(network.values.size(), false);
  for (std::size_t i = network.layers.size(); i-- > 0;) {
    const Layer& layer = network.layers[i];
    const bool reaches = layer.op == OpType::kConv ||
                         std::any_of(layer.outputs.begin(), layer.outputs.end(), [&](ValueId id) {
                           return ahead[static_cast<std::size_t>(id)];
                         });
    if (!reaches) continue;
    for (const ValueId id : layer.inputs) {
      if (id != kNoValue) ahead[static_cast<std::size_t>(id)] = true;
    }
    if (layer.residual != kNoValue) ahead[static_cast<std::size_t>(layer.residual)] = true;
  }
  return ahead;
}

}  // namespace

std::int64_t size_of(Scalar scalar) {
  return scalar == Scalar::kHalf ? 2 : scalar == Scalar::kFloat ? 4 : 1;
}

Layout::Layout(const NetworkDefinition& network, const KnownValues& known)
    : network_(network),
      pictures_(network.values.size(), false),
      scalars_(network.values.size(), Scalar::kFloat),
      placement_(network.values.size()),
      buffer_of_(network.values.size(), -1) {
  const auto each_value = [](const Layer& layer, const auto& visit) {
    for (const auto* ids : {&layer.inputs, &layer.outputs}) {
      for (const ValueId id : *ids) {
        if (id != kNoValue) visit(id);
      }
    }
    if (layer.residual != kNoValue) visit(layer.residual);
  };
  // Matrices have four axes too, but channels last is the worst place for them.
  std::vector<bool> plain(network.values.size(), false);
  for (const Layer& layer : network.layers) {
    if (layer.op == OpType::kMatMul || layer.op == OpType::kSoftmax ||
        layer.op == OpType::kTranspose) {
      each_value(layer, [&](ValueId id) { plain[index(id)] = true; });
    }
  }
  for (const Layer& layer : network.layers) {
    if (layer.op == OpType::kConv || layer.op == OpType::kImageInput ||
        moves_data(network, layer)) {
      each_value(layer, [&](ValueId id) { plain[index(id)] = false; });
    }
  }
  if (!network.quantization.empty()) {
    const std::vector<bool> ahead = ahead_of_convolutions(network);
    for (std::size_t i = 0; i < network.values.size(); ++i) {
      if (ahead[i]) scalars_[i] = Scalar::kHalf;
    }
    for (std::size_t i = 0; i < network.layers.size(); ++i) {
      if (network.layers[i].op != OpType::kConv ||
          network.quantization.layers[i].precision != Precision::kFp32) {
        continue;
      }
      each_value(network.layers[i], [&](ValueId id) { scalars_[index(id)] = Scalar::kFloat; });
    }
  }
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    const Value& value = network.values[i];
    pictures_[i] = !plain[i] && known[i] == nullptr && value.dtype == DataType::kFloat32 &&
                   value.dims.size() == 4 && value.dims[0] == 1 && volume(value.dims) > 0;
    if (pictures_[i]) placement_.add(static_cast<ValueId>(i), value.dims[1]);
  }
}

bool Layout::whole_vectors(const std::vector<ValueId>& ids) const {
  return std::all_of(ids.begin(), ids.end(), [&](ValueId id) {
    return id != kNoValue && is_picture(id) && scalar(id) == scalar(ids[0]) &&
           network_.value(id).dims[1] * size_of(scalar(id)) % kVectorBytes == 0;
  });
}

bool Layout::split(const Layer& layer) {
  std::vector<ValueId> ids = layer.outputs;
  ids.push_back(layer.inputs[0]);
  if (!whole_vectors(ids)) return false;
  std::int64_t channel = 0;
  for (const ValueId part : layer.outputs) {
    placement_.alias(part, layer.inputs[0], channel);
    channel += network_.value(part).dims[1];
  }
  return true;
}

std::vector<bool> Layout::concat(const Layer& layer) {
  std::vector<ValueId> ids = layer.inputs;
  ids.push_back(layer.outputs[0]);
  if (!whole_vectors(ids)) return std::vector<bool>(layer.inputs.size(), false);
  return placement_.concat(layer.outputs[0], layer.inputs);
}

Tensor Layout::lay(ValueId id, bool picture, std::int64_t channels, std::int64_t first,
                   std::int32_t& buffer) {
  const Dims& dims = network_.value(id).dims;
  const Scalar scalar = this->scalar(id);
  const std::int64_t bytes = size_of(scalar);
  std::int64_t pixel = 0;  // elements
  std::int64_t image = volume(dims);
  if (picture) {
    const std::int64_t vector = kVectorBytes / bytes;
    pixel = (channels + vector - 1) / vector * vector;
    image = dims[2] * dims[3] * pixel;
  }
  image = (image * bytes + kImageAlignment - 1) / kImageAlignment * kImageAlignment;
  if (buffer < 0) {
    buffer = static_cast<std::int32_t>(buffers_.size());
    buffers_.push_back(image);
  }
  return {{Address::Space::kArena, buffer, first * bytes},
          image,
          scalar,
          dims,
          picture ? Dims{0, 1, dims[3] * pixel, pixel} : row_major(dims)};
}

Tensor Layout::home(ValueId id) {
  const bool picture = is_picture(id);
  const auto position = picture ? placement_.find(id) : Placement::Position{id, 0};
  return lay(id, picture, picture ? placement_.blocks(position.root) : 0, position.block,
             buffer_of_[index(position.root)]);
}

Tensor Layout::temporary(ValueId id) {
  std::int32_t buffer = -1;
  return lay(id, true, network_.value(id).dims[1], 0, buffer);
}

Tensor Layout::temporary_plain(ValueId id) {
  std::int32_t buffer = -1;
  return lay(id, false, 0, 0, buffer);
}

}  // namespace fovea::engine::cuda
