// Shares memory between buffers that are never needed at the same time.
#pragma once

#include <span>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// Steps (layer indices) during which a buffer holds data, both ends included.
struct Lifetime {
  std::size_t first = 0;
  std::size_t last = 0;

  bool overlaps(const Lifetime& other) const { return first <= other.last && other.first <= last; }
};

// By ValueId: from the layer that writes it (0 for inputs) to the last one that reads it (the last
// layer of all for outputs). Constants and values that nobody writes get an empty range, first >
// last.
std::vector<Lifetime> value_lifetimes(const NetworkDefinition& network);

struct BufferRequest {
  std::size_t bytes = 0;  // 0 takes no space
  Lifetime lifetime;
};

struct MemoryPlan {
  std::vector<std::size_t> offsets;  // one per request
  std::size_t total = 0;             // bytes
};

// Offsets are multiples of `alignment`, a power of two. Largest buffers first, each at the lowest
// offset that is free for its lifetime. A provider that lets values share a buffer (a concat's
// parts) asks for one buffer with the union of their lifetimes.
MemoryPlan plan_memory(std::span<const BufferRequest> requests, std::size_t alignment = 64);

// One dense buffer per computed value. REQUIRES: shapes inferred.
MemoryPlan plan_memory(const NetworkDefinition& network, std::size_t alignment = 64);

}  // namespace fovea::engine
