// The inner loop of a convolution: a register tile of 16 * blocks output channels by `width` pixels
// of one row. Internal to the kernels. One scheme serves every type: a register holds 16 output
// channels, and one step multiplies the 4 bytes of a pixel's channels (1 f32, 2 f16 or 4 u8),
// broadcast, with 16 x 4 bytes of weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fovea::engine::kernels {

inline constexpr std::int64_t kBlock = 16;     // output channels in a register
inline constexpr std::int64_t kStepBytes = 4;  // of a pixel's input channels in one step

// Tile shapes. Blocks of a tactic come with every width listed, widest first, so that any row can
// be cut into tiles; the accumulators, weights and one broadcast fit 32 registers.
inline constexpr int kMaxBlocks = 6;
inline constexpr int kWidthsOf1[] = {20, 16, 10, 8, 4, 2, 1};
inline constexpr int kWidthsOf2[] = {13, 12, 10, 8, 5, 4, 2, 1};
inline constexpr int kWidthsOf3[] = {8, 6, 5, 4, 2, 1};
inline constexpr int kWidthsOf4[] = {6, 5, 4, 3, 2, 1};
inline constexpr int kWidthsOf5[] = {5, 4, 3, 2, 1};
inline constexpr int kWidthsOf6[] = {4, 3, 2, 1};
inline constexpr std::span<const int> kWidths[kMaxBlocks + 1] = {
    {}, kWidthsOf1, kWidthsOf2, kWidthsOf3, kWidthsOf4, kWidthsOf5, kWidthsOf6};

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
      nullptr;  // [kernel_rows][taps][steps][blocks][16][4 bytes], 64-byte aligned
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

using TileFunction = void (*)(const TileJob&);

// Tile functions by [blocks][index into kWidths[blocks]].
struct TileSet {
  TileFunction functions[kMaxBlocks + 1][8];
};

const TileSet& f32_tiles();         // avx512
const TileSet& f16_as_f32_tiles();  // avx512: f16 weights and pixels, f32 arithmetic
const TileSet& u8_tiles();          // avx512_vnni
const TileSet& f16_tiles();         // avx512_fp16: f16 arithmetic

}  // namespace fovea::engine::kernels
