// The inner loops of attention on AMX tiles: products of bf16 numbers, f32 sums and softmax.
//
// A tile holds the scores of 16 queries with 16 keys, later 16 channels of 16 results. Keys and
// values are packed as the second factor wants them, pairs of neighbours side by side; powers are
// rounded to bf16 where their scores were.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/attention_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_amx.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c")

// The vectors first.
// clang-format off
#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_amx_template.hpp"
// clang-format on

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kRows = 16;  // queries of a block, and rows of a tile
constexpr std::int64_t kStep = kBf16Step;
constexpr std::int64_t kTileFloats = 256;  // of a packed tile: 16 rows of 64 bytes
constexpr int kSums = 4;                   // tiles of sums at a time

std::int64_t steps(std::int64_t count) { return (count + kStep - 1) / kStep; }

template <int kSum>
inline __attribute__((always_inline)) void multiply_add_tile() {
  asm volatile("tdpbf16ps %%tmm6, %%tmm4, %%tmm%c0" ::"i"(kSum));
}

// 32 numbers.
inline __m512i halves(Floats low, Floats high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// `to` = 16 rows of `from` times kCount neighbouring packed matrices of `depth` tiles each.
template <int kCount>
void multiply(const std::byte* from, std::int64_t stride, const float* packed, std::int64_t depth,
              float* to, std::int64_t to_stride) {
  unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
    asm volatile("tilezero %%tmm%c0" ::"i"(static_cast<int>(i)));
  });
  for (std::int64_t step = 0; step < depth; ++step) {
    load_tile<4>(from + step * kAmxRowBytes, stride);
    unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
      load_tile<6>(packed + (i * depth + step) * kTileFloats, kAmxRowBytes);
      multiply_add_tile<i>();
    });
  }
  unrolled<kCount>([&](auto i) __attribute__((always_inline)) {
    store_tile<i>(to + i * kLanes, to_stride * static_cast<std::int64_t>(sizeof(float)));
  });
}

// The same for `count` matrices: as many at a time as there are sums, for a product waits long for
// the one before with the same sums.
template <int kCount>
void multiply_all(const std::byte* from, std::int64_t stride, const float* packed,
                  std::int64_t depth, std::int64_t count, float* to, std::int64_t to_stride) {
  for (; count >= kCount; count -= kCount, packed += kCount * depth * kTileFloats) {
    multiply<kCount>(from, stride, packed, depth, to, to_stride);
    to += kCount * kLanes;
  }
  if constexpr (kCount > 1) {
    multiply_all<kCount / 2>(from, stride, packed, depth, count, to, to_stride);
  }
}

// As exponential2() bounds them.
inline Floats power_of_score(Floats x) { return rough_exponential2(larger(set(-100), x)); }

// A row of scores becomes powers in bf16, zeros up to whole steps; returns 1 / their sum. Reads are
// ahead of writes, which take half the room.
float soften(float* row, std::int64_t keys) {
  const std::int64_t vectors = (keys + kLanes - 1) / kLanes;
  const Lanes last = first_lanes(keys - (vectors - 1) * kLanes);
  float* end = row + (vectors - 1) * kLanes;
  store_floats(end, choose(last, load_floats(end), set(-3e38F)));  // no key, no share
  if (vectors % 2 != 0) store_floats(end + kLanes, set(-3e38F));
  Floats top = load_floats(row);
  Floats other = load_floats(row + kLanes);
  for (std::int64_t v = 2; v < vectors; v += 2) {
    top = larger(top, load_floats(row + v * kLanes));
    other = larger(other, load_floats(row + (v + 1) * kLanes));
  }
  const Floats highest = set(largest_lane(larger(top, other)));
  Floats even = set(0);
  Floats odd = set(0);
  auto* to = reinterpret_cast<std::byte*>(row);
  for (std::int64_t v = 0; v < vectors; v += 2, to += kAmxRowBytes) {
    const Floats a = power_of_score(load_floats(row + v * kLanes) - highest);
    const Floats b = power_of_score(load_floats(row + (v + 1) * kLanes) - highest);
    even = even + a;
    odd = odd + b;
    _mm512_storeu_si512(to, halves(a, b));
  }
  return 1 / sum_of_lanes(even + odd);
}

void attend(const AttentionBlock& block) {
  const AmxTiles tiles(kAmxRowBytes);
  alignas(64) std::byte queries[kBf16MostKeyDim / kStep * kRows * kAmxRowBytes];
  const std::int64_t depth = block.key_dim / kStep;
  const std::int64_t row_bytes = depth * kAmxRowBytes;
  for (std::int64_t r = 0; r < kRows; ++r) {
    const float* from = block.queries + std::min(r, block.rows - 1) * block.query_stride;
    for (std::int64_t step = 0; step < depth; ++step, from += kStep) {
      _mm512_store_si512(queries + r * row_bytes + step * kAmxRowBytes,
                         halves(load_floats(from), load_floats(from + kLanes)));
    }
  }
  const std::int64_t stride = score_stride(block.keys, kLanes);
  multiply_all<kSums>(queries, row_bytes, block.packed_keys, depth,
                      (block.keys + kLanes - 1) / kLanes, block.scores, stride);
  float shares[kRows];
  for (std::int64_t r = 0; r < kRows; ++r) {
    shares[r] = soften(block.scores + r * stride, block.keys);
  }
  alignas(64) float results[kRows * kSums * kLanes];
  for (std::int64_t first = 0; first < block.value_dim; first += kSums * kLanes) {
    const std::int64_t width = std::min(kSums * kLanes, block.value_dim - first) / kLanes;
    multiply_all<kSums>(reinterpret_cast<const std::byte*>(block.scores),
                        stride * static_cast<std::int64_t>(sizeof(float)),
                        block.packed_values + first / kLanes * steps(block.keys) * kTileFloats,
                        steps(block.keys), width, results, kSums * kLanes);
    for (std::int64_t r = 0; r < block.rows; ++r) {
      for (std::int64_t v = 0; v < width; ++v) {
        store_floats(block.to + r * block.to_stride + first + v * kLanes,
                     load_floats(results + (r * kSums + v) * kLanes) * set(shares[r]));
      }
    }
  }
}

// Tiles of 16 keys: rows are pairs of neighbouring channels.
void pack_keys(const float* from, std::int64_t stride, std::int64_t keys, std::int64_t key_dim,
               float scale, float* to) {
  const Floats factor = set(scale * 1.44269504F);
  for (std::int64_t first = 0; first < keys; first += kLanes) {
    for (std::int64_t d = 0; d < key_dim; d += kStep, to += kTileFloats) {
      Floats square[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        const float* key = from + (first + i) * stride + d;
        square[i] = first + i >= keys
                        ? set(0)
                        : _mm512_castsi512_ps(halves(load_floats(key) * factor,
                                                     load_floats(key + kLanes) * factor));
      }
      transpose(square);
      for (std::int64_t i = 0; i < kLanes; ++i) store_floats(to + i * kLanes, square[i]);
    }
  }
}

// Tiles of 16 channels: rows are pairs of neighbouring keys.
void pack_values(const float* from, std::int64_t stride, std::int64_t values,
                 std::int64_t value_dim, std::int64_t padded, float* to) {
  const auto value = [&](std::int64_t j, std::int64_t d) {
    const std::int64_t count = j < values ? value_dim - d : 0;
    const Floats some = load_floats(from + (count > 0 ? j * stride + d : 0), first_lanes(count));
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(some)));
  };
  for (std::int64_t d = 0; d < padded; d += kLanes) {
    for (std::int64_t j = 0; j < steps(values) * kStep; j += 2, to += kLanes) {
      _mm512_storeu_si512(to, _mm512_or_si512(value(j, d), _mm512_slli_epi32(value(j + 1, d), 16)));
    }
  }
}

}  // namespace

const AttentionFunctions& amx_attention();

const AttentionFunctions& amx_attention() {
  static constexpr AttentionFunctions kFunctions = {"amx_bf16", kLanes,      kRows,
                                                    pack_keys,  pack_values, attend};
  return kFunctions;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
