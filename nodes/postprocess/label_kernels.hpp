// The inner loops of semantic maps, once readable and once vectorised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fovea::label_kernels {

// Elements that vectors may read or write behind the last one.
inline constexpr std::size_t kPad = 64;

// Logits of one class at the cells around a block of pixels, interpolated between its upper and its
// lower cells: of a pixel `share` of the way from left to right, left + share * step.
struct Line {
  float left = 0;
  float step = 0;
  float label = 0;
};

struct Kernels {
  // Which of `count` classes may be the greatest somewhere between four cells, in their order:
  // all but those that one class is above at every corner. Returns how many; `found` has room for
  // all. Clears `finite` if a number is NaN or infinite.
  std::size_t (*find_candidates)(const float* const (&corners)[4], std::size_t count,
                                 std::uint16_t* found, bool& finite);
  // Labels of `count` pixels of a row, `shares` of the way along the lines: that of the greatest,
  // of equal ones the first. Reads and writes up to kPad elements behind the last. REQUIRES: a line.
  void (*choose)(const Line* lines, std::size_t line_count, const float* shares, std::size_t count,
                 std::uint8_t* labels);
  // How many of the first labels are equal. REQUIRES: count > 0.
  std::size_t (*run_length)(const std::uint8_t* labels, std::size_t count);
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

}  // namespace fovea::label_kernels
