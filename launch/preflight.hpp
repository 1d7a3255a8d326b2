// What can be known before the first node starts: is there room for the pools, and is nobody else
// using the names.
#pragma once

#include "launch/graph.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/result.hpp"

namespace fovea::launch {

// The nodes' shm_size together against the free space of the shared-memory folder. Nodes that state
// none are left to BufferPool::create(), which refuses by itself. Errors: kExhausted with the size
// needed and the size free.
Result<> check_shared_memory(const Graph& graph, const Domain& domain);

// Names in use by live processes: nodes of a launch that was just killed get a moment to end.
// Errors: kUnavailable with node and pid.
Result<> check_names_free(const Graph& graph, const Domain& domain);

}  // namespace fovea::launch
