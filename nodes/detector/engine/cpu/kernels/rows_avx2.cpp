// The row functions with AVX2.
#include <cstdint>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

#include "nodes/detector/engine/cpu/kernels/avx2_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/rows_template.hpp"

namespace fovea::engine::kernels {
namespace {

// The table as 16 rows of 16 entries. A shuffle looks a code up in one row and gives zero for a
// negative index, so the codes of each sign are walked through their eight rows, 16 less each time:
// every row is added that the code has reached or passed, and holds what the row before does not.
class RegisterTable {
 public:
  explicit RegisterTable(const std::uint8_t* table) {
    for (int half = 0; half < 2; ++half) {
      __m128i before = _mm_setzero_si128();
      for (int row = 0; row < kRows; ++row) {
        const __m128i entries =
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(table + (half * kRows + row) * 16));
        rows_[half][row] = _mm256_broadcastsi128_si256(_mm_xor_si128(entries, before));
        before = entries;
      }
    }
  }
  Bytes operator()(Bytes index) const {
    const __m256i flip = _mm256_set1_epi8(static_cast<char>(128));
    const Bytes other = {_mm256_xor_si256(index.low, flip), _mm256_xor_si256(index.high, flip)};
    const Bytes a = of_positive(rows_[0], index);
    const Bytes b = of_positive(rows_[1], other);
    return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
  }

 private:
  static constexpr int kRows = 8;

  // Zero where the index is negative. Both halves share the loads of the rows.
  static Bytes of_positive(const __m256i* rows, Bytes index) {
    const __m256i step = _mm256_set1_epi8(16);
    Bytes sum = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      sum.low = _mm256_xor_si256(sum.low, _mm256_shuffle_epi8(rows[row], index.low));
      sum.high = _mm256_xor_si256(sum.high, _mm256_shuffle_epi8(rows[row], index.high));
      index.low = _mm256_subs_epi8(index.low, step);
      index.high = _mm256_subs_epi8(index.high, step);
    }
    return sum;
  }

  __m256i rows_[2][kRows];
};

// Pixels of 16 (32) channels: one lookup serves four (two).
template <int kChannels>
struct Narrow {
  static constexpr std::int64_t kPixels = kByteLanes / kChannels;

  static Bytes load(const std::uint8_t* from, std::int64_t stride, std::int64_t count) {
    alignas(32) std::uint8_t all[kByteLanes] = {};
    for (std::int64_t i = 0; i < count; ++i) {
      __builtin_memcpy(all + i * kChannels, from + i * stride, kChannels);
    }
    return load_bytes(all, first_bytes(kByteLanes));
  }
  static void store(std::uint8_t* to, std::int64_t stride, std::int64_t count, Bytes value) {
    alignas(32) std::uint8_t all[kByteLanes];
    store_bytes(all, first_bytes(kByteLanes), value);
    for (std::int64_t i = 0; i < count; ++i) {
      __builtin_memcpy(to + i * stride, all + i * kChannels, kChannels);
    }
  }
};

}  // namespace
}  // namespace fovea::engine::kernels

#include "nodes/detector/engine/cpu/kernels/table_template.hpp"

namespace fovea::engine::kernels {

const RowFunctions& avx2_rows() {
  static const RowFunctions kFunctions{"avx2", pointwise, table, maximum, sum};
  return kFunctions;
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
