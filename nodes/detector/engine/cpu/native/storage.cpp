#include "nodes/detector/engine/cpu/native/storage.hpp"

#include <algorithm>
#include <array>

#include "nodes/detector/engine/quantization/quantization.hpp"

namespace fovea::engine::cpu::native {

namespace {

Buffer bordered(std::int64_t height, std::int64_t width, std::int64_t pixel_bytes,
                const kernels::Border& border, int fill) {
  const std::int64_t side = std::max(border.left, border.right);
  Buffer buffer;
  buffer.row_stride = (width + side) * pixel_bytes;
  buffer.row_bytes = width * pixel_bytes;
  buffer.first_row = border.top * buffer.row_stride + side * pixel_bytes;
  buffer.bytes = buffer.first_row + (height + border.bottom) * buffer.row_stride;
  if (buffer.first_row > 0 || border.bottom > 0 || side > 0) buffer.rows = height;
  buffer.border = fill;
  return buffer;
}

std::size_t slot(DataType type) {
  if (type == DataType::kFloat16) return 1;
  if (type == DataType::kBfloat16) return 2;
  return type == DataType::kUint8 ? 3 : 0;
}

}  // namespace

Storage::Storage(const NetworkDefinition& network, Halves halves)
    : network_(network),
      types_(network.values.size(), DataType::kFloat32),
      plain_(network.values.size(), false),
      placement_(network.values.size()),
      own_(network.values.size()),
      converted_(network.values.size()) {
  for (const Layer& layer : network.layers) {
    if (layer.op == OpType::kImageInput) image_ = layer.outputs[0];
  }
  choose_plain(network);
  choose_half(network, halves);
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (!is_picture(id)) continue;
    if (!network.quantization.empty() && network.quantization.values[i]) {
      types_[i] = DataType::kUint8;
    }
    placement_.add(id, network.value(id).dims[1]);
  }
}

// Matrices have four axes too, but channels last is the worst place for them.
void Storage::choose_plain(const NetworkDefinition& network) {
  const auto mark = [&](const Layer& layer, bool plain) {
    for (const auto* ids : {&layer.inputs, &layer.outputs}) {
      for (const ValueId id : *ids) {
        if (id != kNoValue) plain_[static_cast<std::size_t>(id)] = plain;
      }
    }
    if (layer.residual != kNoValue) plain_[static_cast<std::size_t>(layer.residual)] = plain;
  };
  for (const Layer& layer : network.layers) {
    if (layer.op == OpType::kMatMul || layer.op == OpType::kSoftmax ||
        layer.op == OpType::kTranspose) {
      mark(layer, true);
    }
  }
  for (const Layer& layer : network.layers) {
    if (layer.op == OpType::kConv || layer.op == OpType::kImageInput ||
        moves_data(network, layer)) {
      mark(layer, false);
    }
  }
}

// Half precision pays where no convolution on either side has to convert.
void Storage::choose_half(const NetworkDefinition& network, Halves halves) {
  if (network.quantization.empty()) return;
  const std::vector<std::int32_t> shared = shared_grids(network);
  std::vector<DataType> halves_of(network.values.size(), DataType::kFloat32);
  std::vector<bool> touched(network.values.size(), false);
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (layer.op != OpType::kConv && layer.op != OpType::kImageInput) continue;
    const Precision precision =
        layer.op == OpType::kConv ? network.quantization.layers[i].precision : Precision::kFp32;
    const DataType type = precision == Precision::kFp16 && halves.fp16   ? DataType::kFloat16
                          : precision == Precision::kBf16 && halves.bf16 ? DataType::kBfloat16
                                                                         : DataType::kFloat32;
    for (const ValueId id : {layer.inputs[0], layer.outputs[0], layer.residual}) {
      if (id == kNoValue || at(shared, id) == kNoValue) continue;
      const auto set = static_cast<std::size_t>(at(shared, id));
      const bool agrees = !touched[set] || halves_of[set] == type;
      halves_of[set] = agrees ? type : DataType::kFloat32;
      touched[set] = true;
    }
  }
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    if (shared[i] == kNoValue) continue;
    const DataType type = halves_of[static_cast<std::size_t>(shared[i])];
    if (type != DataType::kFloat32) types_[i] = type;
  }
}

bool Storage::is_picture(ValueId id) const {
  const Value& value = network_.value(id);
  return !plain_[static_cast<std::size_t>(id)] && !value.constant &&
         value.dtype == DataType::kFloat32 && value.dims.size() == 4 && value.dims[0] == 1 &&
         volume(value.dims) > 0;
}

kernels::Grid Storage::grid(ValueId id) const {
  if (type(id) != DataType::kUint8) return {};
  const QuantizationGrid& grid = at(network_.quantization.values, id);
  return {grid.scale, grid.zero_point};
}

Home Storage::image() const {
  const std::int64_t width = network_.value(image_).dims[3];
  return {{Location::Where::kInput, 0, 0}, {DataType::kUint8, 3, 3 * width, {1, 0}}};
}

void Storage::split(const Layer& layer) {
  std::int64_t channel = 0;
  for (const ValueId part : layer.outputs) {
    placement_.alias(part, layer.inputs[0], channel);
    channel += network_.value(part).dims[1];
  }
}

std::vector<bool> Storage::concat(const Layer& layer) {
  return placement_.concat(layer.outputs[0], layer.inputs);
}

Storage::Place& Storage::place(ValueId id, DataType as) {
  if (as == type(id)) return own_[static_cast<std::size_t>(placement_.find(id).root)];
  return converted_[static_cast<std::size_t>(id)][slot(as)];
}

void Storage::need_border(ValueId id, DataType as, const kernels::Border& border) {
  kernels::Border& has = place(id, as).border;
  has.top = std::max(has.top, border.top);
  has.left = std::max(has.left, border.left);
  has.bottom = std::max(has.bottom, border.bottom);
  has.right = std::max(has.right, border.right);
}

Home Storage::home(ValueId id, DataType as) {
  Place& place = this->place(id, as);
  if (!is_picture(id)) {
    if (place.buffer < 0) {
      Buffer buffer;
      const Value& value = network_.value(id);
      buffer.bytes = volume(value.dims) * static_cast<std::int64_t>(element_size(value.dtype));
      buffers_.push_back(buffer);
      place.buffer = static_cast<std::int32_t>(buffers_.size() - 1);
    }
    return {{Location::Where::kArena, place.buffer, 0}, {}};
  }
  const bool own = as == type(id);
  const auto position = own ? placement_.find(id) : Placement::Position{id, 0};
  const Dims& dims = network_.value(id).dims;
  const std::int64_t channels = own ? placement_.blocks(position.root) : dims[1];
  const std::int64_t element = kernels::element_bytes(as);
  const kernels::Grid grid = as == DataType::kUint8 ? this->grid(id) : kernels::Grid{};
  if (place.buffer < 0) {
    buffers_.push_back(bordered(dims[2], dims[3], channels * element, place.border,
                                as == DataType::kUint8 ? grid.zero_point : 0));
    place.buffer = static_cast<std::int32_t>(buffers_.size() - 1);
  }
  const Buffer& buffer = buffers_[static_cast<std::size_t>(place.buffer)];
  return {{Location::Where::kArena, place.buffer, buffer.first_row + position.block * element},
          {as, channels, buffer.row_stride / element, grid}};
}

Home Storage::part(Home home, std::int64_t channel) {
  home.location.offset += channel * kernels::element_bytes(home.surface.type);
  return home;
}

}  // namespace fovea::engine::cpu::native
