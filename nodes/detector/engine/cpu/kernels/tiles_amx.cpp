// u8 x s8 on AMX tiles, with 32-bit sums.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile_amx.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx2,fma")

#include "nodes/detector/engine/cpu/kernels/avx512_table.hpp"
#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_amx_template.hpp"
#include "nodes/detector/engine/cpu/kernels/vector_math.hpp"

namespace fovea::engine::kernels {
namespace {

struct ByteMath {
  template <int kSums, int kPixels, int kWeights>
  static inline __attribute__((always_inline)) void multiply_add() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kPixels), "i"(kWeights));
  }
  static inline __attribute__((always_inline)) __m512 result(const std::int32_t* sums, __m512 scale,
                                                             __m512 bias) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)), scale, bias);
  }
};

// Side by side, in one store; writing a pixel twice does no harm.
struct CodeSink {
  static constexpr bool kSkips = false;
  static constexpr bool kFetches = false;
  explicit CodeSink(const AmxJob& /*job*/) {}
  template <int kBlocks>
  inline __attribute__((always_inline)) void put(__m512 a, __m512 b, __m512 c, __m512 d,
                                                 std::byte* const* to,
                                                 const std::byte* const* /*residual*/) const {
    _mm512_storeu_si512(to[0], pack_codes(to_code(a), to_code(b), to_code(c), to_code(d)));
  }
};

class TableSink {
 public:
  static constexpr bool kSkips = true;
  static constexpr bool kFetches = false;
  explicit TableSink(const AmxJob& job)
      : table_(job.table),
        zero_point_(_mm512_set1_epi8(static_cast<char>(job.residual_zero_point))),
        adds_(job.residual != nullptr) {}
  template <int kBlocks>
  inline __attribute__((always_inline)) void put(__m512 a, __m512 b, __m512 c, __m512 d,
                                                 std::byte* const* to,
                                                 const std::byte* const* residual) const {
    __m512i codes = table_(pack_codes(to_code(a), to_code(b), to_code(c), to_code(d)));
    if (adds_) codes = add_codes(codes, load<kBlocks>(residual), zero_point_);
    if constexpr (kBlocks == 2) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[0]), _mm512_castsi512_si256(codes));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to[1]), _mm512_extracti64x4_epi64(codes, 1));
    } else {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to[0]), _mm512_castsi512_si128(codes));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to[1]), _mm512_extracti32x4_epi32(codes, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to[2]), _mm512_extracti32x4_epi32(codes, 2));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to[3]), _mm512_extracti32x4_epi32(codes, 3));
    }
  }

 private:
  template <int kBlocks>
  static inline __attribute__((always_inline)) __m512i load(const std::byte* const* from) {
    if constexpr (kBlocks == 2) {
      const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from[0]));
      const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from[1]));
      return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    } else {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[0]));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[1]));
      const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[2]));
      const __m128i d = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[3]));
      __m512i all = _mm512_inserti32x4(_mm512_castsi128_si512(a), b, 1);
      all = _mm512_inserti32x4(all, c, 2);
      return _mm512_inserti32x4(all, d, 3);
    }
  }

  RegisterTable table_;
  __m512i zero_point_;
  bool adds_;
};

// For ldtilecfg.
struct alignas(64) Configuration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(Configuration) == 64);

}  // namespace

AmxFunction amx_u8(int blocks, AmxResult result) {
  switch (result) {
    case AmxResult::kFloats:
      return blocks == 2 ? amx_tiles<ByteMath, FloatSink, 2> : amx_tiles<ByteMath, FloatSink, 1>;
    case AmxResult::kCodes:
      return blocks == 2 ? amx_tiles<ByteMath, CodeSink, 2> : amx_tiles<ByteMath, CodeSink, 1>;
    case AmxResult::kTable:
      return blocks == 2 ? amx_tiles<ByteMath, TableSink, 2> : amx_tiles<ByteMath, TableSink, 1>;
    case AmxResult::kHalves:
      break;  // of bf16 alone
  }
  return nullptr;
}

AmxTiles::AmxTiles(std::int64_t chunk_bytes) {
  Configuration configuration;
  for (int tile = 0; tile < 8; ++tile) {
    const bool pixels = tile == 4 || tile == 5;
    const bool weights = tile > 5;
    configuration.rows[tile] = static_cast<std::uint8_t>(weights ? chunk_bytes / 4 : kAmxPixels);
    configuration.row_bytes[tile] = static_cast<std::uint16_t>(pixels ? chunk_bytes : kAmxRowBytes);
  }
  asm volatile("ldtilecfg %0" ::"m"(configuration));
}

AmxTiles::~AmxTiles() { asm volatile("tilerelease"); }

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
