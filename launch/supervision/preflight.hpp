// What can be known before the first node starts: are parameters right, is there room for the
// pools and are there descriptors, and is nobody else using the names.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "launch/language/graph.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"

namespace fovea::launch {

// The nodes' shm_size together against the free space of the shared-memory folder. Nodes that state
// none are left to BufferPool::create(), which refuses by itself. Errors: kExhausted with the size
// needed and the size free.
Result<> check_shared_memory(const Graph& graph, const Domain& domain);

// Asks every node's program whether it would take its parameters, all at once: wrong ones, and files
// that are not there, are found before anything starts. A program that gives no answer within
// `patience` is left to the supervisor; the result is a line for each of those, to be shown. Errors:
// kInvalidArgument with one line per node that refuses, each with file and line of the value.
Result<std::vector<std::string>> check_parameters(
    const Graph& graph, const Domain& domain,
    std::chrono::milliseconds patience = std::chrono::seconds(5));

// Nobody else's files bear the names of this domain and its nodes. Errors: kInvalidArgument with
// file and owner.
Result<> check_owners(const Graph& graph, const Domain& domain);

// The hard limit of descriptors is enough for the launcher and for each node. Errors: kExhausted
// with the number needed and the limit.
Result<> check_descriptors(const Graph& graph);

// No live process uses a node's name; those of a launch that was just killed get `patience` to end.
// Errors: kUnavailable with node and pid.
Result<> check_names_free(const Graph& graph, const Domain& domain,
                          std::chrono::milliseconds patience = std::chrono::seconds(10));

}  // namespace fovea::launch
