// The inner loops of attention, readable: what the others must give.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"

namespace fovea::engine::kernels {
namespace {

void pack_keys(const float* from, std::int64_t stride, std::int64_t keys, std::int64_t key_dim,
               float scale, float* to) {
  for (std::int64_t j = 0; j < keys; ++j) {
    for (std::int64_t d = 0; d < key_dim; ++d) *to++ = from[j * stride + d] * scale;
  }
}

void pack_values(const float* from, std::int64_t stride, std::int64_t values,
                 std::int64_t value_dim, std::int64_t padded, float* to) {
  for (std::int64_t j = 0; j < values; ++j) {
    std::copy_n(from + j * stride, value_dim, to + j * padded);
  }
}

void attend(const AttentionBlock& block) {
  float* scores = block.scores;
  for (std::int64_t r = 0; r < block.rows; ++r) {
    const float* query = block.queries + r * block.query_stride;
    for (std::int64_t j = 0; j < block.keys; ++j) {
      const float* key = block.packed_keys + j * block.key_dim;
      float score = 0;
      for (std::int64_t d = 0; d < block.key_dim; ++d) score += query[d] * key[d];
      scores[j] = score;
    }
    const float top = *std::max_element(scores, scores + block.keys);
    float sum = 0;
    for (std::int64_t j = 0; j < block.keys; ++j) sum += scores[j] = std::exp(scores[j] - top);
    float* to = block.to + r * block.to_stride;
    std::fill_n(to, block.value_dim, 0.0F);
    for (std::int64_t j = 0; j < block.keys; ++j) {
      const float* value = block.packed_values + j * block.value_dim;
      for (std::int64_t d = 0; d < block.value_dim; ++d) to[d] += scores[j] / sum * value[d];
    }
  }
}

}  // namespace

const AttentionFunctions& scalar_attention() {
  static constexpr AttentionFunctions kFunctions{"scalar", 1, 1, pack_keys, pack_values, attend};
  return kFunctions;
}

}  // namespace fovea::engine::kernels
