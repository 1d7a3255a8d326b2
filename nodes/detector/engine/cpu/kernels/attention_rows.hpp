// Inner loops of attention, one table of functions per instruction set. Internal to the kernels.
//
// Thread safety: pure functions of their job.
#pragma once

#include <cstdint>
#include <memory>

#include "nodes/detector/engine/cpu/kernels/attention.hpp"

namespace fovea::engine::kernels {

// `rows` queries against all keys. Keys and values are packed.
struct AttentionBlock {
  const float* queries = nullptr;
  std::int64_t query_stride = 0;  // floats from a query to the next
  std::int64_t rows = 0;          // 1..AttentionFunctions::rows
  std::int64_t keys = 0;
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;  // a multiple of `lanes`
  const float* packed_keys = nullptr;
  const float* packed_values = nullptr;
  float* scores = nullptr;  // [rows][score_stride(keys)], contents never matter
  float* to = nullptr;
  std::int64_t to_stride = 0;
};

struct AttentionFunctions {
  const char* name;
  std::int64_t lanes;  // floats of a register: extents of packed keys and values are multiples of it
  std::int64_t rows;   // queries at a time
  // All keys, `stride` floats apart, times `scale`: key_dim * round_up(keys, lanes) floats.
  void (*pack_keys)(const float* from, std::int64_t stride, std::int64_t keys, std::int64_t key_dim,
                    float scale, float* to);
  // Some values, `stride` floats apart: each `padded` floats, zeros behind value_dim.
  void (*pack_values)(const float* from, std::int64_t stride, std::int64_t values,
                      std::int64_t value_dim, std::int64_t padded, float* to);
  void (*attend)(const AttentionBlock&);
};

// From one row of scores to the next. More than the keys: rows of a power of two would all lie in
// the same few sets of the cache.
inline std::int64_t score_stride(std::int64_t keys, std::int64_t lanes) {
  return (keys + lanes - 1) / lanes * lanes + 16;
}

const AttentionFunctions& scalar_attention();
const AttentionFunctions& best_attention(const CpuFeatures& features);
// bf16 numbers of a tile's row, which one product sums.
inline constexpr std::int64_t kBf16Step = 32;
inline constexpr std::int64_t kBf16MostKeyDim = 256;
// With products of bf16 numbers, or null. They take keys of whole steps, at most kBf16MostKeyDim, and
// all values at once, at least a step.
const AttentionFunctions* bf16_attention(const CpuFeatures& features);

// create_attention() by these functions.
Result<std::unique_ptr<const Kernel>> create_attention(const AttentionSpec& spec,
                                                       const AttentionFunctions& functions);

}  // namespace fovea::engine::kernels
