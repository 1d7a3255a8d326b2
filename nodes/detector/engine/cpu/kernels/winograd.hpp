// The transforms of Winograd's minimal filtering for 3x3 windows, 16 channels at a time. Internal
// to the kernels.
//
// F(m x m, 3 x 3) computes an m x m tile of outputs from (m + 2)^2 products per pair of channels
// instead of 9 m^2: with m = 2 that is 2.25 times fewer, with m = 4 four times fewer, at the price
// of these sums before and after. (A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural
// Networks, 2015; their matrices, points 0, 1, -1, 2, -2.)
#pragma once

#include <cstdint>

namespace fovea::engine::kernels {

inline constexpr int kLargestWinogradSide = 6;  // of a transformed tile: m + 2

// Strides in floats. Transformed tiles lie plane by plane: element (i, j) of all tiles, channel by
// channel, then the next element.
struct WinogradInputJob {
  const float* source = nullptr;  // top left pixel of the (m + 2)^2 that the tile reads
  std::int64_t row_stride = 0;
  std::int64_t pixel_stride = 0;
  std::int64_t channels = 0;  // whole registers are written, zero beyond these
  float* to = nullptr;
  std::int64_t to_plane = 0;
};
struct WinogradOutputJob {
  const float* from = nullptr;
  std::int64_t from_plane = 0;
  std::int64_t channels = 0;  // a multiple of 16
  const float* bias = nullptr;
  float* to = nullptr;  // m rows of m pixels
  std::int64_t row_stride = 0;
  std::int64_t pixel_stride = 0;
};

struct WinogradFunctions {
  void (*input)(const WinogradInputJob&) = nullptr;
  void (*output)(const WinogradOutputJob&) = nullptr;
};

// REQUIRES: avx512; m is 2 or 4.
WinogradFunctions winograd_functions(int m);

// 16 3x3 filters g and what they become, G g G^T, both by row.
struct WinogradFilters {
  float taps[9][16];
  float elements[kLargestWinogradSide * kLargestWinogradSide][16];  // (m + 2)^2 are used

  void transform(int m);
};

}  // namespace fovea::engine::kernels
