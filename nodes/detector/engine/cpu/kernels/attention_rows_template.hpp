// The inner loops of attention as a template over a vector type. Included by the attention files
// only, inside their target pragma; internal linkage keeps each instruction set's instances apart.
//
// A register holds the scores of neighbouring keys, later neighbouring channels of values. Keys are
// packed transposed, in panels of kScoreVectors registers, so that a tile of scores reads them
// front to back; whole rows of scores stay in the first cache. The scale contains log2(e): powers
// are powers of two.
#pragma once

namespace fovea::engine::kernels {
namespace {

// V: Register, kLanes, tile sizes; load, store, set, fma, mul, add, sub, max, exp2, highest, sum,
// load_first, keep_first, transpose. The arrays live in registers only if every loop over them is
// unrolled, and tiles only get all registers for themselves in functions of their own.

template <class V, int kRows, int kVectors>
__attribute__((noinline)) void score_tile(const float* queries, std::int64_t query_stride,
                                          const float* keys, std::int64_t depth, float* to,
                                          std::int64_t to_stride) {
  typename V::Register sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::set(0);
  }
  for (std::int64_t d = 0; d < depth; ++d, keys += kVectors * V::kLanes) {
    typename V::Register key[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) key[v] = V::load(keys + v * V::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename V::Register query = V::set(queries[r * query_stride + d]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = V::fma(query, key[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) V::store(to + r * to_stride + v * V::kLanes, sums[r][v]);
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
  typename V::Register sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = V::set(0);
  }
  for (std::int64_t j = 0; j < keys; ++j, values += value_stride) {
    typename V::Register value[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) value[v] = V::load(values + v * V::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename V::Register power = V::set(powers[r * power_stride + j]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = V::fma(power, value[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      V::store(to + r * to_stride + v * V::kLanes, V::mul(sums[r][v], V::set(shares[r])));
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
  using Register = typename V::Register;
  const std::int64_t vectors = (keys + V::kLanes - 1) / V::kLanes;
  const std::int64_t last = keys % V::kLanes;
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * stride;
    if (last != 0) {  // no share for lanes without a key
      float* end = row + (vectors - 1) * V::kLanes;
      V::store(end, V::keep_first(V::load(end), last, V::set(-3e38F)));
    }
    Register tops[4];
    for (Register& top : tops) top = V::load(row);
    std::int64_t v = 0;
    for (; v + 4 <= vectors; v += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) tops[i] = V::max(tops[i], V::load(row + (v + i) * V::kLanes));
    }
    for (; v < vectors; ++v) tops[0] = V::max(tops[0], V::load(row + v * V::kLanes));
    shares[r] = V::highest(V::max(V::max(tops[0], tops[1]), V::max(tops[2], tops[3])));
  }
  Register sums[V::kBlockRows];
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * stride;
    const Register top = V::set(shares[r]);
    Register even = V::set(0);
    Register odd = V::set(0);
    std::int64_t v = 0;
    for (; v + 2 <= vectors; v += 2) {
      float* at = row + v * V::kLanes;
      const Register a = V::exp2(V::sub(V::load(at), top));
      const Register b = V::exp2(V::sub(V::load(at + V::kLanes), top));
      V::store(at, a);
      V::store(at + V::kLanes, b);
      even = V::add(even, a);
      odd = V::add(odd, b);
    }
    if (v < vectors) {
      float* at = row + v * V::kLanes;
      const Register a = V::exp2(V::sub(V::load(at), top));
      V::store(at, a);
      even = V::add(even, a);
    }
    sums[r] = V::add(even, odd);
  }
  for (std::int64_t r = 0; r < rows; ++r) shares[r] = 1 / V::sum(sums[r]);
}

template <class V>
void attend(const AttentionBlock& block) {
  const std::int64_t vectors = (block.keys + V::kLanes - 1) / V::kLanes;
  const std::int64_t stride = score_stride(block.keys, V::kLanes);
  for (std::int64_t first = 0; first < vectors; first += V::kScoreVectors) {
    score_panel<V, V::kScoreRows, V::kScoreVectors>(
        std::min<std::int64_t>(V::kScoreVectors, vectors - first), block.rows, block.queries, block,
        block.packed_keys + first * block.key_dim * V::kLanes, block.scores + first * V::kLanes,
        stride);
  }
  float shares[V::kBlockRows];
  soften<V>(block.scores, stride, block.rows, block.keys, shares);
  const std::int64_t width = block.value_dim / V::kLanes;
  for (std::int64_t first = 0; first < width; first += V::kMixVectors) {
    mix_panel<V, V::kMixRows, V::kMixVectors>(
        std::min<std::int64_t>(V::kMixVectors, width - first), block.rows, block.scores, stride,
        block, block.packed_values + first * V::kLanes, shares, block.to + first * V::kLanes);
  }
}

// Squares of registers, transposed.
template <class V>
void pack_keys(const float* from, std::int64_t stride, std::int64_t keys, std::int64_t key_dim,
               float scale, float* to) {
  const std::int64_t vectors = (keys + V::kLanes - 1) / V::kLanes;
  const typename V::Register factor = V::set(scale * 1.44269504F);
  for (std::int64_t v = 0; v < vectors; ++v) {
    const std::int64_t panel = v / V::kScoreVectors * V::kScoreVectors;
    const std::int64_t width = std::min<std::int64_t>(V::kScoreVectors, vectors - panel);
    float* column = to + (panel * key_dim + v - panel) * V::kLanes;
    const std::int64_t rows = std::min<std::int64_t>(V::kLanes, keys - v * V::kLanes);
    for (std::int64_t d = 0; d < key_dim; d += V::kLanes) {
      typename V::Register square[V::kLanes];
      for (std::int64_t i = 0; i < V::kLanes; ++i) {
        const float* key = from + (v * V::kLanes + i) * stride + d;
        square[i] = i < rows ? V::mul(V::load_first(key, key_dim - d), factor) : V::set(0);
      }
      V::transpose(square);
      for (std::int64_t i = 0; i < V::kLanes && d + i < key_dim; ++i) {
        V::store(column + (d + i) * width * V::kLanes, square[i]);
      }
    }
  }
}

template <class V>
void pack_values(const float* from, std::int64_t stride, std::int64_t values,
                 std::int64_t value_dim, std::int64_t padded, float* to) {
  for (std::int64_t j = 0; j < values; ++j, from += stride, to += padded) {
    for (std::int64_t d = 0; d < padded; d += V::kLanes) {
      V::store(to + d, V::load_first(from + d, value_dim - d));
    }
  }
}

template <class V>
constexpr AttentionFunctions attention_functions() {
  return {V::kName, V::kLanes, V::kBlockRows, pack_keys<V>, pack_values<V>, attend<V>};
}

}  // namespace
}  // namespace fovea::engine::kernels
