// The inner loops of the antialiased resize, once readable and once vectorised; both give the same
// bits.
//
// The horizontal pass takes 16 rows at a time, turned so that the same sample of all of them lies
// together: one weight then serves a whole vector, whatever the channels and the filter's width.
//
// Fixed point: weights have 22 bits and sum to 2^22, as nearly as rounding lets them; 255 times so
// much fits 32 bits. Each pass rounds to 8 bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fovea::antialias_kernels {

inline constexpr int kWeightBits = 22;
inline constexpr std::size_t kRows = 16;  // of a block

// Source positions [first, first + count) of one output position.
struct Window {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// Blocks are [samples, kRows].
struct Kernels {
  // block[i * kRows + r] = rows[r][i] for i < count.
  void (*gather_rows)(const std::uint8_t* const* rows, std::size_t count, std::uint8_t* block);
  // rows[r][i] = block[i * kRows + r] for i < count.
  void (*scatter_rows)(const std::uint8_t* block, std::size_t count, std::uint8_t* const* rows);
  // Of every row: out[x * channels + c] = sum of block[(windows[x].first + k) * channels + c] *
  // weights[x * stride + k] over the window's k, rounded to 8 bits, for x < count.
  void (*filter_block)(const std::uint8_t* block, const Window* windows,
                       const std::int32_t* weights, std::size_t stride, std::size_t channels,
                       std::size_t count, std::uint8_t* out);
  // out[i] = sum of rows[k][i] * weights[k] over k < taps, rounded to 8 bits, for i < count.
  void (*add_rows)(const std::uint8_t* const* rows, const std::int32_t* weights, std::size_t taps,
                   std::size_t count, std::uint8_t* out);
};

const Kernels& scalar_kernels();
// The best for this CPU, or what FOVEA_ISA (scalar, sse4, avx2) limits it to.
const Kernels& best_kernels();

struct NamedKernels {
  const char* name;  // "scalar", then Highway's names
  const Kernels* kernels;
};
// Everything this CPU can run, for tests and benches.
std::vector<NamedKernels> all_kernels();

}  // namespace fovea::antialias_kernels
