// The inner loops of decoder and suppression, once readable and once vectorised.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "msgs/detection.hpp"

namespace fovea::decode_kernels {

// Vectors read arrays that are padded to a multiple of this many floats.
inline constexpr std::size_t kPad = 64;
// The column search looks at so many columns at a time: 4 KiB of each row, which stay in the cache.
inline constexpr std::size_t kColumnBlock = 1024;

constexpr std::size_t padded(std::size_t count) { return (count + kPad - 1) / kPad * kPad; }

// The boxes kept so far, one array per field. Unused elements have class -1, which equals none.
struct KeptBoxes {
  static constexpr std::size_t kCapacity = padded(msgs::Detection2DArray::kMaxDetections);
  using Lane = std::array<float, kCapacity>;

  alignas(64) Lane x1, y1, x2, y2, area, class_id;
  std::size_t count = 0;

  KeptBoxes() : x1{}, y1{}, x2{}, y2{}, area{} { class_id.fill(-1); }
};

struct Query {
  float x1, y1, x2, y2, area, class_id;
};

struct Kernels {
  // Numbers of the rows of values [rows, columns] that have an element above its column's
  // threshold. `thresholds` has padded(columns) elements, the last ones infinite. Returns how many;
  // `found` has room for `rows`. Clears `finite` if a value is NaN or infinite.
  std::size_t (*find_rows)(const float* values, std::size_t rows, std::size_t columns,
                           const float* thresholds, std::uint32_t* found, bool& finite);
  // Numbers in 0..count-1 of the columns of values [rows, count] that have an element above its
  // row's threshold; rows are `stride` elements apart. Clears `finite` if a value is NaN or
  // infinite. REQUIRES: count <= kColumnBlock.
  std::size_t (*find_columns)(const float* values, std::size_t rows, std::size_t stride,
                              std::size_t count, const float* thresholds, std::uint32_t* found,
                              bool& finite);
  // Mean of 0..bins-1 weighted by softmax(logits): a distance in cells.
  float (*expected_bin)(const float* logits, std::size_t bins);
  // sums[r] = sum of values[r, c] * weights[c] for values [rows, columns].
  void (*weighted_sums)(const float* values, std::size_t rows, std::size_t columns,
                        const float* weights, float* sums);
  // Whether a kept box of the query's class overlaps it with intersection > threshold * union.
  bool (*overlaps_any)(const KeptBoxes& kept, const Query& query, float threshold);
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

}  // namespace fovea::decode_kernels
