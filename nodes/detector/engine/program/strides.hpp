// Tensors as strided views: how one lies in the memory of another. Every provider that turns reshapes into addresses
// asks here.
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <vector>

#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine {

// Strides of a tensor without gaps.
Dims row_major(const Dims& extents);
// The strides with which `extents` at `strides` can be read as `to`, an equal number of elements in
// the same order; nullopt if the memory does not allow it.
std::optional<Dims> reshape_strides(const Dims& extents, const Dims& strides, const Dims& to);

// The coarsest extents, none of them 1, that both shapes can be cut into: [2, 64, 12] and [128, 3,
// 4] give [2, 64, 3, 4]; nullopt if there are none. REQUIRES: an equal number of elements.
std::optional<Dims> common_extents(const Dims& a, const Dims& b);

// Contents of an i64 input that may be absent; empty if it is, or if they are not known.
std::vector<std::int64_t> known_ints(const KnownValues& known, const Layer& layer,
                                     std::size_t input);

}  // namespace fovea::engine
