// Where the buffers of a program lie, and which launches have to wait for which.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nodes/detector/engine/cuda/program.hpp"

namespace fovea::engine::cuda {

struct Schedule {
  std::vector<std::size_t> offsets;  // of the buffers in the arena
  std::size_t arena_bytes = 0;
  // Per launch, those before it that it has to wait for, none of which is implied by another.
  std::vector<std::vector<std::uint32_t>> dependencies;
};

// For batches of up to `images`.
Schedule make_schedule(const Program& program, std::int64_t images);

}  // namespace fovea::engine::cuda
