// The readable kernels: what the vectorised ones are tested against, and the path for any CPU.
#include <algorithm>
#include <cmath>

#include "nodes/postprocess/decode_kernels.hpp"

namespace fovea::decode_kernels {
namespace {

std::size_t find_rows(const float* values, std::size_t rows, std::size_t columns,
                      const float* thresholds, std::uint32_t* found, bool& finite) {
  std::size_t count = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    const float* scores = values + row * columns;
    bool above = false;
    for (std::size_t c = 0; c < columns; ++c) {
      above = above || scores[c] > thresholds[c];
      finite = finite && std::isfinite(scores[c]);
    }
    if (above) found[count++] = static_cast<std::uint32_t>(row);
  }
  return count;
}

std::size_t find_columns(const float* values, std::size_t rows, std::size_t stride,
                         std::size_t count, const float* thresholds, std::uint32_t* found,
                         bool& finite) {
  std::array<bool, kColumnBlock> above{};
  for (std::size_t row = 0; row < rows; ++row) {
    const float* scores = values + row * stride;
    for (std::size_t i = 0; i < count; ++i) {
      above[i] = above[i] || scores[i] > thresholds[row];
      finite = finite && std::isfinite(scores[i]);
    }
  }
  std::size_t found_count = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (above[i]) found[found_count++] = static_cast<std::uint32_t>(i);
  }
  return found_count;
}

float expected_bin(const float* logits, std::size_t bins) {
  // Subtracting the maximum changes nothing but keeps exp() from overflowing.
  const float highest = *std::max_element(logits, logits + bins);
  float sum = 0;
  float weighted = 0;
  for (std::size_t bin = 0; bin < bins; ++bin) {
    const float weight = std::exp(logits[bin] - highest);
    sum += weight;
    weighted += weight * static_cast<float>(bin);
  }
  return weighted / sum;
}

void weighted_sums(const float* values, std::size_t rows, std::size_t columns, const float* weights,
                   float* sums) {
  for (std::size_t row = 0; row < rows; ++row) {
    float sum = 0;
    for (std::size_t c = 0; c < columns; ++c) sum += values[row * columns + c] * weights[c];
    sums[row] = sum;
  }
}

bool overlaps_any(const KeptBoxes& kept, const Query& query, float threshold) {
  for (std::size_t i = 0; i < kept.count; ++i) {
    if (kept.class_id[i] != query.class_id) continue;
    const float width = std::min(kept.x2[i], query.x2) - std::max(kept.x1[i], query.x1);
    const float height = std::min(kept.y2[i], query.y2) - std::max(kept.y1[i], query.y1);
    const float intersection = std::max(width, 0.0f) * std::max(height, 0.0f);
    if (intersection > threshold * (kept.area[i] + query.area - intersection)) return true;
  }
  return false;
}

}  // namespace

const Kernels& scalar_kernels() {
  static constexpr Kernels kKernels{find_rows, find_columns, expected_bin, weighted_sums,
                                    overlaps_any};
  return kKernels;
}

}  // namespace fovea::decode_kernels
