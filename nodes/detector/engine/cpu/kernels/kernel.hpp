// What every kernel of the CPU fast path has in common: how a picture lies in memory and how a
// kernel is run.
//
// Everything is decided when a kernel is created: layouts, packed weights, the implementation. Only
// addresses come with the run. A kernel handles one picture; a batch is a loop over its items.
//
// Pictures are NHWC with any strides, so that concat, split and slices are addressing. An address
// always names the picture's first element: pixel (0, 0), first channel. Pixels around it (physical
// padding) lie at negative or later offsets and belong to the same buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "nodes/detector/engine/cpu/thread_pool.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::kernels {

// Affine 8-bit grid: value = (code - zero_point) * scale.
struct Grid {
  float scale = 1;
  std::int32_t zero_point = 0;

  bool operator==(const Grid&) const = default;
};

// Layout and type of a picture, without its address and extents.
struct Surface {
  DataType type = DataType::kFloat32;  // kFloat32, kFloat16, kBfloat16 or kUint8
  std::int64_t pixel_stride = 0;       // elements from a pixel to its right neighbour, >= channels
  std::int64_t row_stride = 0;         // elements from a row to the next
  Grid grid{};                         // kUint8 only

  bool operator==(const Surface&) const = default;
};

// kInvalidArgument, naming `what`, for a type, stride or grid that no kernel takes.
Result<> check_surface(std::string_view what, const Surface& surface, std::int64_t channels);

inline std::int64_t element_bytes(DataType type) {
  if (type == DataType::kUint8) return 1;
  return type == DataType::kFloat16 || type == DataType::kBfloat16 ? 2 : 4;
}

// Addresses of one run, 4-byte aligned for kFloat32 and 2-byte aligned for halves.
struct Arguments {
  std::span<const void* const> sources{};  // in the order that the kernel's create function names
  std::span<void* const> destinations{};
  std::byte* scratch =
      nullptr;  // scratch_bytes(pool.threads()), 64-byte aligned, contents never matter
};

// Immutable: any number of threads may run one kernel at the same time, each with its own pool and
// scratch.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // The tactic's name, "avx512_vnni/4x5/weights": what plans, reports and FOVEA_ISA speak of.
  virtual std::string_view implementation() const = 0;
  virtual std::size_t scratch_bytes(int threads) const = 0;
  // Allocates nothing, cannot fail. REQUIRES: as many addresses as the spec has surfaces;
  // destinations overlap neither each other nor a source, except that a residual may be the
  // destination itself.
  virtual void run(const Arguments& arguments, cpu::ThreadPool& pool) const = 0;
};

}  // namespace fovea::engine::kernels
