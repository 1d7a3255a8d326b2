// The inner loop of a convolution: a register tile of 16 * blocks output channels by `width` pixels
// of one row. Internal to the kernels. One scheme serves every type and every width of vectors: a
// block is 16 output channels, in one register or in two, and one step multiplies the 4 bytes of a
// pixel's channels (1 f32, 2 f16 or 4 u8), broadcast, with 16 x 4 bytes of weights.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::kernels {

inline constexpr std::int64_t kBlock = 16;     // output channels
inline constexpr std::int64_t kStepBytes = 4;  // of a pixel's input channels in one step, as a rule
inline constexpr int kMaxBlocks = 6;
inline constexpr int kMaxWidths = 8;

// Steps that one register of output channels takes again, with other weights.
struct RepeatedSteps {
  const std::int32_t* offsets = nullptr;  // bytes from the first tap of a pixel
  const std::byte* weights = nullptr;     // a register for each
  std::int64_t count = 0;
};

// Strides in bytes. The source's taps of one kernel row are `taps` runs of `steps` steps; the last
// step reads at `last_step`, which may overlap the step before (its weights for those channels are
// zero), so that nothing outside the run is ever read.
struct TileJob {
  const std::byte* source = nullptr;  // first tap of the first pixel
  std::int64_t pixel_stride = 0;
  std::int64_t kernel_row_stride = 0;
  std::int64_t tap_stride = 0;
  std::int64_t last_step = 0;
  int kernel_rows = 0;
  int taps = 0;
  int steps = 0;
  const std::byte* weights =
      nullptr;  // [kernel_rows][taps][steps][blocks][16][step], 64-byte aligned
  const RepeatedSteps* repeats = nullptr;  // by register, for tiles that repeat steps
  const std::byte* start = nullptr;  // what the accumulators start from, 16 * blocks of their type
  const float* scale = nullptr;  // result = accumulator * scale + bias (f32 tiles: the accumulator)
  const float* bias = nullptr;
  std::byte* to = nullptr;     // pixels x 16 * blocks of f32, or of s8 where `codes`
  std::int64_t to_stride = 0;  // of f32; codes have no gaps
  bool codes = false;
  // Where the pixels end up, to be fetched while the sums are made, else the stores wait for it;
  // null if nobody knows.
  std::byte* destination = nullptr;
  std::int64_t destination_stride = 0;
  std::int64_t destination_bytes = 0;  // of a pixel
  std::int64_t pixels = 0;             // a multiple of the tile's width
};

// What u8 pixels lose before they are multiplied with weights that are not negative, and with those
// that are.
struct PixelOffset {
  int of_positive = 0;
  int of_negative = 0;
};

using TileFunction = void (*)(const TileJob&);

// The tiles of one instruction set for one type of pixels.
struct TileSet {
  int registers = 1;       // of a block
  int product_blocks = 1;  // of the best tiles for many short products
  bool half_sums = false;  // sums are f16, which could lose a bias that they start from
  int step_bytes = kStepBytes;
  PixelOffset pixel_offset;  // u8: multiplied are pixels less this; sums' starts make up for it
  bool repeats = false;    // TileJob::repeats is needed: products are summed in pairs in 16 bits
  // With `repeats`, instead of them, for weights of which many steps would be repeated: as many
  // widths, weights split by split_signs().
  const TileSet* of_magnitudes = nullptr;
  // By blocks: widths, widest first, the last is 1, so that any row can be cut into tiles. None:
  // there are no tiles of so many blocks.
  std::span<const int> widths[kMaxBlocks + 1] = {};
  TileFunction functions[kMaxBlocks + 1][kMaxWidths] = {};

  std::size_t width_index(int blocks, int width) const {
    const auto& all = widths[blocks];
    return static_cast<std::size_t>(std::find(all.begin(), all.end(), width) - all.begin());
  }
};

// What implements the dense convolutions of one type.
struct TileImplementation {
  std::string_view isa;  // as tactics are named: "avx512_vnni"
  // Steps of one output channel that an instruction does. Where the CPU has more, those that do less
  // are no rivals.
  int steps;
  DataType compute;
  bool CpuFeatures::*needs;
  const TileSet& (*tiles)();
};
// Best first.
std::span<const TileImplementation> tile_implementations();
// The first for `compute` that this CPU has, or null.
const TileImplementation* best_tiles(DataType compute, const CpuFeatures& features);

}  // namespace fovea::engine::kernels
