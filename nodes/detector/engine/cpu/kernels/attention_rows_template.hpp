// The inner loops of attention over vectors of any width. Included by the attention_rows_*.cpp files
// inside their target pragma, after the vectors; internal linkage keeps each instruction set's
// instances apart.
//
// A register holds the scores of neighbouring keys, later neighbouring channels of values. Keys are
// packed transposed, in panels of kScoreVectors registers, so that a tile of scores reads them
// front to back; whole rows of scores stay in the first cache. The scale contains log2(e): powers
// are powers of two.
#pragma once

namespace fovea::engine::kernels {
namespace {

// V: tile sizes. The arrays live in registers only if every loop over them is
// unrolled, and tiles only get all registers for themselves in functions of their own.

template <class V, int kRows, int kVectors>
__attribute__((noinline)) void score_tile(const float* queries, std::int64_t query_stride,
                                          const float* keys, std::int64_t depth, float* to,
                                          std::int64_t to_stride) {
  Floats sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = set(0);
  }
  for (std::int64_t d = 0; d < depth; ++d, keys += kVectors * kLanes) {
    Floats key[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) key[v] = load_floats(keys + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Floats query = set(queries[r * query_stride + d]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = multiply_add(query, key[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store_floats(to + r * to_stride + v * kLanes, sums[r][v]);
  }
}

// A panel of `width` <= kVectors registers of keys, `rows` queries.
template <class V, int kRows, int kVectors>
void score_panel(std::int64_t width, std::int64_t rows, const float* queries,
                 const AttentionBlock& block, const float* keys, float* to, std::int64_t to_stride) {
  if constexpr (kVectors > 1) {
    if (width < kVectors) {
      score_panel<V, kRows, kVectors - 1>(width, rows, queries, block, keys, to, to_stride);
      return;
    }
  }
  for (; rows >= kRows; rows -= kRows) {
    score_tile<V, kRows, kVectors>(queries, block.query_stride, keys, block.key_dim, to, to_stride);
    queries += kRows * block.query_stride;
    to += kRows * to_stride;
  }
  if constexpr (kRows > 1) {
    if (rows > 0) {
      score_panel<V, kRows / 2, kVectors>(width, rows, queries, block, keys, to, to_stride);
    }
  }
}

template <class V, int kRows, int kVectors>
__attribute__((noinline)) void mix_tile(const float* powers, std::int64_t power_stride,
                                        const float* values, std::int64_t value_stride,
                                        std::int64_t keys, const float* shares, float* to,
                                        std::int64_t to_stride) {
  Floats sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = set(0);
  }
  for (std::int64_t j = 0; j < keys; ++j, values += value_stride) {
    Floats value[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) value[v] = load_floats(values + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Floats power = set(powers[r * power_stride + j]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = multiply_add(power, value[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      store_floats(to + r * to_stride + v * kLanes, sums[r][v] * set(shares[r]));
    }
  }
}

// `width` <= kVectors registers of value channels, `rows` queries.
template <class V, int kRows, int kVectors>
void mix_panel(std::int64_t width, std::int64_t rows, const float* powers,
               std::int64_t power_stride, const AttentionBlock& block, const float* values,
               const float* shares, float* to) {
  if constexpr (kVectors > 1) {
    if (width < kVectors) {
      mix_panel<V, kRows, kVectors - 1>(width, rows, powers, power_stride, block, values, shares,
                                        to);
      return;
    }
  }
  for (; rows >= kRows; rows -= kRows) {
    mix_tile<V, kRows, kVectors>(powers, power_stride, values, block.value_dim, block.keys, shares,
                                 to, block.to_stride);
    powers += kRows * power_stride;
    shares += kRows;
    to += kRows * block.to_stride;
  }
  if constexpr (kRows > 1) {
    if (rows > 0) {
      mix_panel<V, kRows / 2, kVectors>(width, rows, powers, power_stride, block, values, shares,
                                        to);
    }
  }
}

// Scores become 2^(score - highest), shares[row] = 1 / their sum. In three loops over the rows, so
// that the reductions of one row overlap with the next.
template <class V>
void soften(float* scores, std::int64_t stride, std::int64_t rows, std::int64_t keys,
            float* shares) {
  const std::int64_t vectors = (keys + kLanes - 1) / kLanes;
  const std::int64_t last = keys % kLanes;
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * stride;
    if (last != 0) {  // no share for lanes without a key
      float* end = row + (vectors - 1) * kLanes;
      store_floats(end, choose(first_lanes(last), load_floats(end), set(-3e38F)));
    }
    Floats tops[4];
    for (Floats& top : tops) top = load_floats(row);
    std::int64_t v = 0;
    for (; v + 4 <= vectors; v += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) tops[i] = larger(tops[i], load_floats(row + (v + i) * kLanes));
    }
    for (; v < vectors; ++v) tops[0] = larger(tops[0], load_floats(row + v * kLanes));
    shares[r] = largest_lane(larger(larger(tops[0], tops[1]), larger(tops[2], tops[3])));
  }
  Floats sums[V::kBlockRows];
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * stride;
    const Floats top = set(shares[r]);
    Floats even = set(0);
    Floats odd = set(0);
    std::int64_t v = 0;
    for (; v + 2 <= vectors; v += 2) {
      float* at = row + v * kLanes;
      const Floats a = exponential2(load_floats(at) - top);
      const Floats b = exponential2(load_floats(at + kLanes) - top);
      store_floats(at, a);
      store_floats(at + kLanes, b);
      even = even + a;
      odd = odd + b;
    }
    if (v < vectors) {
      float* at = row + v * kLanes;
      const Floats a = exponential2(load_floats(at) - top);
      store_floats(at, a);
      even = even + a;
    }
    sums[r] = even + odd;
  }
  for (std::int64_t r = 0; r < rows; ++r) shares[r] = 1 / sum_of_lanes(sums[r]);
}

template <class V>
void attend(const AttentionBlock& block) {
  const std::int64_t vectors = (block.keys + kLanes - 1) / kLanes;
  const std::int64_t stride = score_stride(block.keys, kLanes);
  for (std::int64_t first = 0; first < vectors; first += V::kScoreVectors) {
    score_panel<V, V::kScoreRows, V::kScoreVectors>(
        std::min<std::int64_t>(V::kScoreVectors, vectors - first), block.rows, block.queries, block,
        block.packed_keys + first * block.key_dim * kLanes, block.scores + first * kLanes, stride);
  }
  float shares[V::kBlockRows];
  soften<V>(block.scores, stride, block.rows, block.keys, shares);
  const std::int64_t width = block.value_dim / kLanes;
  for (std::int64_t first = 0; first < width; first += V::kMixVectors) {
    mix_panel<V, V::kMixRows, V::kMixVectors>(
        std::min<std::int64_t>(V::kMixVectors, width - first), block.rows, block.scores, stride,
        block, block.packed_values + first * kLanes, shares, block.to + first * kLanes);
  }
}

// The first `count` floats, which may be none, then zeros.
inline Floats load_head(const float* from, std::int64_t count) {
  return count <= 0 ? set(0) : load_floats(from, first_lanes(count));
}

// Squares of registers, transposed.
template <class V>
void pack_keys(const float* from, std::int64_t stride, std::int64_t keys, std::int64_t key_dim,
               float scale, float* to) {
  const std::int64_t vectors = (keys + kLanes - 1) / kLanes;
  const Floats factor = set(scale * 1.44269504F);
  for (std::int64_t v = 0; v < vectors; ++v) {
    const std::int64_t panel = v / V::kScoreVectors * V::kScoreVectors;
    const std::int64_t width = std::min<std::int64_t>(V::kScoreVectors, vectors - panel);
    float* column = to + (panel * key_dim + v - panel) * kLanes;
    const std::int64_t rows = std::min<std::int64_t>(kLanes, keys - v * kLanes);
    for (std::int64_t d = 0; d < key_dim; d += kLanes) {
      Floats square[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        const float* key = from + (v * kLanes + i) * stride + d;
        square[i] = i < rows ? load_head(key, key_dim - d) * factor : set(0);
      }
      transpose(square);
      for (std::int64_t i = 0; i < kLanes && d + i < key_dim; ++i) {
        store_floats(column + (d + i) * width * kLanes, square[i]);
      }
    }
  }
}

template <class V>
void pack_values(const float* from, std::int64_t stride, std::int64_t values,
                 std::int64_t value_dim, std::int64_t padded, float* to) {
  for (std::int64_t j = 0; j < values; ++j, from += stride, to += padded) {
    for (std::int64_t d = 0; d < padded; d += kLanes) {
      store_floats(to + d, load_head(from + d, value_dim - d));
    }
  }
}

template <class V>
constexpr AttentionFunctions attention_functions() {
  return {V::kName, kLanes, V::kBlockRows, pack_keys<V>, pack_values<V>, attend<V>};
}

}  // namespace
}  // namespace fovea::engine::kernels
