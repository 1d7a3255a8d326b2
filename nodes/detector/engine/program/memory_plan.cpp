#include "nodes/detector/engine/program/memory_plan.hpp"

#include <algorithm>
#include <numeric>

namespace fovea::engine {

std::vector<Lifetime> value_lifetimes(const NetworkDefinition& network) {
  constexpr Lifetime kNever{1, 0};
  std::vector<Lifetime> lifetimes(network.values.size(), kNever);
  const auto at = [&](ValueId id) -> Lifetime& { return lifetimes[static_cast<std::size_t>(id)]; };
  for (const ValueId id : network.inputs) at(id) = {0, 0};
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    const Layer& layer = network.layers[l];
    const auto read = [&](ValueId id) {
      if (id != kNoValue && network.value(id).constant == nullptr) at(id).last = l;
    };
    for (const ValueId id : layer.inputs) read(id);
    read(layer.residual);
    for (const ValueId id : layer.outputs) at(id) = {l, l};
  }
  for (const ValueId id : network.outputs) {
    if (network.value(id).constant == nullptr) at(id).last = network.layers.size();
  }
  return lifetimes;
}

MemoryPlan plan_memory(std::span<const BufferRequest> requests, std::size_t alignment) {
  MemoryPlan plan;
  plan.offsets.assign(requests.size(), 0);
  const auto aligned = [&](std::size_t bytes) {
    return (bytes + alignment - 1) & ~(alignment - 1);
  };

  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return requests[a].bytes > requests[b].bytes;
  });

  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t i : order) {
    const BufferRequest& request = requests[i];
    if (request.bytes == 0) continue;
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      if (!request.lifetime.overlaps(requests[other].lifetime)) continue;
      if (offset + request.bytes <= plan.offsets[other]) break;
      offset = std::max(offset, aligned(plan.offsets[other] + requests[other].bytes));
    }
    plan.offsets[i] = offset;
    plan.total = std::max(plan.total, offset + request.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](std::size_t a, std::size_t b) {
                                     return plan.offsets[a] < plan.offsets[b];
                                   }),
                  i);
  }
  plan.total = aligned(plan.total);
  return plan;
}

MemoryPlan plan_memory(const NetworkDefinition& network, std::size_t alignment) {
  const std::vector<Lifetime> lifetimes = value_lifetimes(network);
  std::vector<BufferRequest> requests;
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    const Value& value = network.values[i];
    const bool computed = lifetimes[i].first <= lifetimes[i].last;
    requests.push_back(
        {computed ? static_cast<std::size_t>(volume(value.dims)) * element_size(value.dtype) : 0,
         lifetimes[i]});
  }
  return plan_memory(requests, alignment);
}

}  // namespace fovea::engine
