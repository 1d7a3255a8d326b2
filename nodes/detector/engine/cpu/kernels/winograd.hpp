// The transforms of Winograd's minimal filtering for 3x3 windows, 16 channels at a time. Internal
// to the kernels.
//
// F(4x4, 3x3) computes a 4x4 tile of outputs from 36 products per pair of channels instead of 144,
// at the price of these sums before and after. (A. Lavin, S. Gray: Fast Algorithms for
// Convolutional Neural Networks, 2015; their matrices, points 0, 1, -1, 2, -2.)
#pragma once

#include <cstdint>
#include <string_view>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::kernels {

inline constexpr int kWinogradOut = 4;   // side of a tile of outputs
inline constexpr int kWinogradSide = 6;  // of the pixels that it reads, and of its transform
inline constexpr int kWinogradElements = 36;

//
// Integers do it exactly. Pixels of 8 bits become such of 16; the filters keep the factors of their
// fractions (24 in each direction), and sums and transforms back wrap modulo 2^32. What comes out
// is at most 576 = 9 * 64 times the convolution's sum, whose lowest 26 bits are thus known: enough
// if it is within +-2^25.

// Strides in elements. Transformed tiles are f32, of u8 pixels s16, and lie plane by plane: element (i, j) of all
// tiles, channel by channel, then the next element.
struct WinogradInputJob {
  const void* source = nullptr;  // f32, f16 or u8: top left pixel of those that the tile reads
  std::int64_t row_stride = 0;
  std::int64_t pixel_stride = 0;
  std::int64_t channels = 0;  // whole registers are written, zero beyond these
  void* to = nullptr;
  std::int64_t to_plane = 0;
};
struct WinogradOutputJob {
  const void* from = nullptr;  // f32, of u8 pixels s32
  std::int64_t from_plane = 0;
  std::int64_t channels = 0;  // a multiple of 16
  const float* bias = nullptr;
  const std::int32_t* start = nullptr;  // u8 pixels: result = (sum + start) * scale + bias
  const float* scale = nullptr;
  bool codes = false;  // results are s8, else f32
  void* to = nullptr;  // 4 rows of 4 pixels
  std::int64_t row_stride = 0;
  std::int64_t pixel_stride = 0;
};

struct WinogradFunctions {
  void (*input)(const WinogradInputJob&) = nullptr;
  void (*output)(const WinogradOutputJob&) = nullptr;
};

struct WinogradImplementation {
  std::string_view isa{};  // empty: this CPU has none for the type
  WinogradFunctions functions{};
  const TileSet* products = nullptr;  // of f32, or of pairs of s16 with sums of 32 bits as results
};
WinogradImplementation best_winograd(DataType source, const CpuFeatures& features);

// 16 3x3 filters g and what they become, G g G^T, both by row. `whole`: with G's rows made whole
// numbers.
struct WinogradFilters {
  float taps[9][16];
  float elements[kWinogradElements][16];

  void transform(bool whole);
};

}  // namespace fovea::engine::kernels
