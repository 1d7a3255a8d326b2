// bf16 x bf16 on AMX tiles, with f32 sums.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <immintrin.h>

#include "nodes/detector/engine/cpu/kernels/tile_amx.hpp"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")

#include "nodes/detector/engine/cpu/kernels/avx512_vectors.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_amx_template.hpp"
#include "nodes/detector/engine/cpu/kernels/vector_math.hpp"

namespace fovea::engine::kernels {
namespace {

struct HalfMath {
  template <int kSums, int kPixels, int kWeights>
  static inline __attribute__((always_inline)) void multiply_add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kPixels),
                 "i"(kWeights));
  }
  static inline __attribute__((always_inline)) __m512 result(const std::int32_t* sums,
                                                             __m512 /*scale*/, __m512 /*bias*/) {
    return _mm512_load_ps(sums);
  }
};

struct ScaledHalfMath : HalfMath {
  static inline __attribute__((always_inline)) __m512 result(const std::int32_t* sums, __m512 scale,
                                                             __m512 /*bias*/) {
    return _mm512_mul_ps(_mm512_load_ps(sums), scale);
  }
};

// x / (1 + e^-x), half the instructions of activate().
inline __attribute__((always_inline)) __m512 silu(__m512 x) {
  const __m512 power = rough_exponential2(x * set(-1.44269502F));
  return x * _mm512_rcp14_ps(power + set(1));
}

template <Activation kActivation>
class HalfSink {
 public:
  static constexpr bool kSkips = true;
  static constexpr bool kFetches = false;
  explicit HalfSink(const AmxJob& job) : adds_(job.residual != nullptr) {}
  template <int kBlocks>
  inline __attribute__((always_inline)) void put(__m512 a, __m512 b, __m512 c, __m512 d,
                                                 std::byte* const* to,
                                                 const std::byte* const* residual) const {
    if constexpr (kBlocks == 2) {
      _mm512_storeu_si512(to[0], both(finish(a, residual[0], 0), finish(b, residual[0], 32)));
      _mm512_storeu_si512(to[1], both(finish(c, residual[1], 0), finish(d, residual[1], 32)));
    } else {
      store(to[0], finish(a, residual[0], 0));
      store(to[1], finish(b, residual[1], 0));
      store(to[2], finish(c, residual[2], 0));
      store(to[3], finish(d, residual[3], 0));
    }
  }

 private:
  inline __attribute__((always_inline)) __m512 finish(__m512 value, const std::byte* residual,
                                                      int at) const {
    if constexpr (kActivation == Activation::kSilu) value = silu(value);
    if (!adds_) return value;
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(residual + at));
    return _mm512_add_ps(value,
                         _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16)));
  }
  static inline __attribute__((always_inline)) __m512i both(__m512 low, __m512 high) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  }
  static inline __attribute__((always_inline)) void store(std::byte* to, __m512 value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
  }

  bool adds_;
};

template <class Math>
AmxFunction function(int blocks, AmxResult result, Activation activation) {
  if (result == AmxResult::kFloats) {
    return blocks == 2 ? amx_tiles<Math, FloatSink, 2> : amx_tiles<Math, FloatSink, 1>;
  }
  if (activation == Activation::kSilu) {
    return blocks == 2 ? amx_tiles<Math, HalfSink<Activation::kSilu>, 2>
                       : amx_tiles<Math, HalfSink<Activation::kSilu>, 1>;
  }
  return blocks == 2 ? amx_tiles<Math, HalfSink<Activation::kNone>, 2>
                     : amx_tiles<Math, HalfSink<Activation::kNone>, 1>;
}

}  // namespace

AmxFunction amx_bf16(int blocks, AmxResult result, Activation activation, bool scaled) {
  if (scaled) return function<ScaledHalfMath>(blocks, result, activation);
  return function<HalfMath>(blocks, result, activation);
}

}  // namespace fovea::engine::kernels

#pragma GCC pop_options
