// Memory for a batch, as an engine's contexts want it. Engine::make_bindings() makes it where the
// provider likes it best; the constructor makes host memory, which every provider takes.
//
// Thread safety: one thread at a time. Addresses are stable, also when it is moved.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "nodes/base/memory.hpp"

namespace fovea::engine {

struct EngineInfo;

// One image of a batch. Memory is borrowed until the batch is done, need not be adjacent to that of
// other items, must be 64-byte aligned and at least as large as its TensorSpec says.
struct BatchItem {
  ConstMemoryView input;                // inputs()[0]: u8 [height, width, 3] RGB
  std::span<const MemoryView> outputs;  // one per outputs(), in that order
};

class Bindings {
 public:
  // Not initialised. Throws std::bad_alloc.
  explicit Bindings(const EngineInfo& info, std::size_t items = 1);
  Bindings(Bindings&&) noexcept = default;
  Bindings& operator=(Bindings&&) noexcept = default;

  std::span<const BatchItem> items() const { return items_; }
  // The first `count` of them.
  std::span<const BatchItem> batch(std::size_t count = 1) const { return items().first(count); }

  std::span<std::byte> input(std::size_t item = 0) const;
  std::span<std::byte> output(std::size_t index, std::size_t item = 0) const;

 private:
  MemoryView allocate(std::size_t bytes);

  std::vector<HostMemory> memory_;
  std::vector<MemoryView> inputs_;   // by item
  std::vector<MemoryView> outputs_;  // by item, then by output
  std::vector<BatchItem> items_;
};

}  // namespace fovea::engine
