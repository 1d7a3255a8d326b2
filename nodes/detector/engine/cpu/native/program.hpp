// A network compiled for our own kernels: a list of steps over one arena. Immutable and shared; a
// context adds memory, threads and the addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::native {

// An address that is known when a context and, outside the arena, an item is.
struct Location {
  enum class Where : std::uint8_t { kArena, kInput, kOutput };
  Where where = Where::kArena;
  std::int32_t index = 0;   // buffer, or output
  std::int64_t offset = 0;  // bytes
};

// NHWC with a physical border, or plain bytes. The pixels right of a row are those left of the next
// one, so that a row's border is one run of bytes.
struct Buffer {
  std::int64_t bytes = 0;
  std::int64_t first_row = 0;  // bytes before it: the border above
  std::int64_t rows = 0;       // 0: no border at all
  std::int64_t row_stride = 0;
  std::int64_t row_bytes = 0;  // of pixels; the rest of the stride is border
  int border = 0;              // what its bytes hold
};
void fill_border(const Buffer& buffer, std::byte* memory);

// What runs a layer that no kernel covers: one context's copy.
class Fallback {
 public:
  virtual ~Fallback() = default;
  virtual Result<> run(const kernels::Arguments& arguments) = 0;
};
class FallbackFactory {
 public:
  virtual ~FallbackFactory() = default;
  virtual Result<std::unique_ptr<Fallback>> create() const = 0;
};

struct Step {
  std::string layer;
  std::string implementation;
  std::unique_ptr<const kernels::Kernel> kernel;  // or:
  std::unique_ptr<const FallbackFactory> fallback;
  std::vector<Location> sources;
  std::vector<Location> destinations;
  std::vector<std::int32_t> borders;  // buffers whose border something else may have overwritten
};

struct Program {
  std::vector<Step> steps;
  std::vector<Buffer> buffers;
  std::vector<std::size_t> offsets;   // of the buffers in the arena
  std::vector<std::int32_t> borders;  // to fill once
  std::size_t arena_bytes = 0;
  std::vector<std::string> declined;  // "LAYER: reason" for each layer on a slow path
};

}  // namespace fovea::engine::native
