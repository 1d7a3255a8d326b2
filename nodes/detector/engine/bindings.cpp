#include "nodes/detector/engine/bindings.hpp"

#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine {

namespace {

std::span<std::byte> bytes_of(const MemoryView& view) {
  return {static_cast<std::byte*>(view.data), view.bytes};
}

}  // namespace

Bindings::Bindings(const EngineInfo& info, std::size_t items) {
  const std::size_t each = info.outputs.size();
  outputs_.reserve(items * each);  // items_ point into it
  for (std::size_t item = 0; item < items; ++item) {
    inputs_.push_back(allocate(info.input.bytes));
    for (const TensorSpec& output : info.outputs) outputs_.push_back(allocate(output.bytes));
    items_.push_back({inputs_.back(), std::span(outputs_).last(each)});
  }
}

MemoryView Bindings::allocate(std::size_t bytes) {
  memory_.push_back(allocate_host(bytes));
  return {memory_.back().get(), bytes};
}

std::span<std::byte> Bindings::input(std::size_t item) const { return bytes_of(inputs_[item]); }

std::span<std::byte> Bindings::output(std::size_t index, std::size_t item) const {
  return bytes_of(outputs_[item * items_[item].outputs.size() + index]);
}

}  // namespace fovea::engine
