// What can be known before the first node starts: is there room for the pools, and is nobody else
// using the names.
#pragma once

#include <chrono>

#include "launch/graph.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/base/result.hpp"

namespace fovea::launch {

// The nodes' shm_size together against the free space of the shared-memory folder. Nodes that state
// none are left to BufferPool::create(), which refuses by itself. Errors: kExhausted with the size
// needed and the size free.
Result<> check_shared_memory(const Graph& graph, const Domain& domain);

// No live process uses a node's name; those of a launch that was just killed get `patience` to end.
// Errors: kUnavailable with node and pid.
Result<> check_names_free(const Graph& graph, const Domain& domain,
                          std::chrono::milliseconds patience = std::chrono::seconds(10));

}  // namespace fovea::launch
