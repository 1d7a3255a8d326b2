// The inner loops of the antialiased resize, once readable and once vectorised; both give the same
// bits.
//
// Fixed point: weights have 22 bits and sum to 2^22, as nearly as rounding lets them; 255 times so
// much fits 32 bits. Each pass rounds to 8 bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fovea::antialias_kernels {

inline constexpr int kWeightBits = 22;
// Rows of weights are so long, filled up with zeros.
inline constexpr std::size_t kWeightStep = 4;
// Samples behind a source row that are read, though not used, and behind a result that are written.
inline constexpr std::size_t kSlack = 4;

// Source positions [first, first + count) of one output position.
struct Window {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

struct Kernels {
  // out[x * channels + c] = sum of row[(windows[x].first + k) * channels + c] * weights[x * stride +
  // k] over the window's k, rounded to 8 bits, for x < count. Two functions: 3 channels and 1.
  void (*filter_colour)(const std::uint8_t* row, const Window* windows, const std::int32_t* weights,
                        std::size_t stride, std::size_t count, std::uint8_t* out);
  void (*filter_mono)(const std::uint8_t* row, const Window* windows, const std::int32_t* weights,
                      std::size_t stride, std::size_t count, std::uint8_t* out);
  // out[i] = sum of rows[k][i] * weights[k] over k < taps, rounded to 8 bits, for i < count. Writes
  // nothing behind these.
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
