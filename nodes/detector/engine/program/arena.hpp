// One block of memory that all intermediate tensors of a compiled network share: which buffers there are, where each
// lies, and what around a picture has to be written before it is read.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea::engine {

// An address that is known when a context and, outside the arena, an item is.
struct Location {
  enum class Where : std::uint8_t { kArena, kInput, kOutput };
  Where where = Where::kArena;
  std::int32_t index = 0;   // buffer, or output
  std::int64_t offset = 0;  // bytes
};

// A picture with a physical border, or plain bytes. The pixels right of a row are those left of the
// next one, so that a row's border is one run of bytes.
struct Buffer {
  std::int64_t bytes = 0;
  std::int64_t first_row = 0;  // bytes before it: the border above
  std::int64_t rows = 0;       // 0: no border at all
  std::int64_t row_stride = 0;
  std::int64_t row_bytes = 0;  // of pixels; the rest of the stride is border
  int border = 0;              // what its bytes hold
};
void fill_border(const Buffer& buffer, std::byte* memory);

// What one step touches. Locations outside the arena do not matter here.
struct StepAccess {
  std::span<const Location> sources;
  std::span<const Location> destinations;
};

struct Arena {
  std::vector<Buffer> buffers;
  std::vector<std::size_t> offsets;   // of the buffers
  std::vector<std::int32_t> borders;  // to fill once
  std::size_t bytes = 0;
};

struct ArenaPlan {
  Arena arena;
  // Per step: buffers whose border something else may have overwritten, to fill before it runs.
  std::vector<std::vector<std::int32_t>> refills;
};

// Buffers whose steps do not overlap share addresses; one that no step touches takes no space.
ArenaPlan plan_arena(std::vector<Buffer> buffers, std::span<const StepAccess> steps);

}  // namespace fovea::engine
