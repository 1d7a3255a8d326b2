// The inner loop of a convolution on AMX: 16 pixels by 16 output channels in one tile of sums.
// Internal to the kernels.
//
// A tile's rows are pixels, read where the picture has them: neighbouring output pixels are
// `pixel_stride` bytes apart, whatever the convolution's stride. One step multiplies a chunk of up
// to 64 bytes of one tap's channels of 16 pixels with the weights of 16 channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::kernels {

inline constexpr std::int64_t kAmxPixels = 16;     // rows of a tile
inline constexpr std::int64_t kAmxRowBytes = 64;   // of a tile
inline constexpr int kAmxBlocks = 2;               // of 16 output channels, at most, in one job
inline constexpr std::int64_t kAmxJobPixels = 64;  // what a job's loop takes at once, at most

// Strides in bytes. The pixels are numbered across the ends of rows: after `columns` that count
// come those up to `pitch`, which lie in the border and are computed for nothing.
struct AmxJob {
  const std::byte* source = nullptr;  // first tap of the first pixel
  std::int64_t pixel_stride = 0;
  std::int64_t kernel_row_stride = 0;
  std::int64_t tap_stride = 0;
  int kernel_rows = 0;
  int taps = 0;
  int chunks = 0;  // of a tap
  std::int64_t chunk_bytes = 0;
  // [kernel_rows][taps][chunks][chunk_bytes / 4][blocks][16][4 bytes], 64-byte aligned
  const std::byte* weights = nullptr;
  const std::byte* start = nullptr;  // what the sums start from: 16 equal rows of 16 * blocks
  const float* scale = nullptr;      // u8: result = sum * scale + bias; scaled bf16: sum * scale
  const float* bias = nullptr;
  std::int64_t pixels = 0;   // at least 16
  std::int64_t skipped = 0;  // so many of the first are not stored: another job's
  std::int64_t column = 0;   // of the first pixel
  std::int64_t columns = 0;
  std::int64_t pitch = 0;  // pixels from a row to the next
  // Where column 0 of the first pixel's row is stored, 16 * blocks channels.
  std::byte* to = nullptr;
  std::int64_t to_stride = 0;
  std::int64_t to_row_stride = 0;
  const std::uint8_t* table = nullptr;  // kTable: 256 entries
  // kTable: u8 codes to add, kHalves: bf16; null for none.
  const std::byte* residual = nullptr;
  std::int64_t residual_stride = 0;
  std::int64_t residual_row_stride = 0;
  std::int32_t residual_zero_point = 0;
};

using AmxFunction = void (*)(const AmxJob&);

// What becomes of the results.
enum class AmxResult {
  kFloats,  // f32, as they are
  kCodes,   // rounded to s8; pixels without gaps, all of which count
  kTable,   // rounded to s8, then by the table to u8, plus the residual's codes
  kHalves,  // activation, plus the residual, rounded to bf16
};

// u8 pixels, s8 weights, 32-bit sums. REQUIRES: the CPU has AMX-INT8 and AVX512-VBMI; `blocks` is 1
// or 2; the function runs within an AmxTiles of its job's chunk_bytes.
AmxFunction amx_u8(int blocks, AmxResult result);

// bf16 pixels and weights, f32 sums that start from the bias (`scaled`: over the scale). REQUIRES: the same with AMX-BF16 and
// AVX512-BF16; `result` is kFloats or kHalves; `activation`, for kHalves, is kNone or kSilu.
AmxFunction amx_bf16(int blocks, AmxResult result, Activation activation, bool scaled);

// The calling thread's tiles, from here to the end of the scope. Beyond it they would be saved with
// every switch to another thread.
class AmxTiles {
 public:
  explicit AmxTiles(std::int64_t chunk_bytes);
  ~AmxTiles();
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
};

}  // namespace fovea::engine::kernels
