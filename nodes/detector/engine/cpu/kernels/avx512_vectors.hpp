// Vectors of AVX-512, by the names that the *_template.hpp files use; avx2_vectors.hpp has the same.
// To be included inside a target pragma, after all other headers; internal linkage, so that no code
// of this instruction set can stand in for another file's inline function.
#pragma once

namespace fovea::engine::kernels {
namespace {

using Floats = __m512;
using Integers = __m512i;  // of 32 bits
constexpr std::int64_t kLanes = 16;
constexpr int kVectorRegisters = 32;

// The lowest lanes of a vector: others load as zero and are not stored.
using Lanes = __mmask16;
inline Lanes first_lanes(std::int64_t count) {
  return count >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1U << count) - 1);
}

inline Floats set(float value) { return _mm512_set1_ps(value); }
inline Integers set_integer(std::int32_t value) { return _mm512_set1_epi32(value); }

inline Floats load_floats(const void* from) { return _mm512_loadu_ps(from); }
inline Floats load_floats(const void* from, Lanes lanes) {
  return _mm512_maskz_loadu_ps(lanes, from);
}
inline Floats load_halves(const void* from, Lanes lanes) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, from));
}
inline Floats load_bfloats(const void* from, Lanes lanes) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from)), 16));
}
inline Integers load_integers(const void* from) { return _mm512_loadu_si512(from); }
inline Integers load_widened(const void* from, Lanes lanes) {  // u8
  return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, from));
}
inline void store_floats(void* to, Floats value) { _mm512_storeu_ps(to, value); }
inline void store_floats(void* to, Lanes lanes, Floats value) {
  _mm512_mask_storeu_ps(to, lanes, value);
}
inline void store_halves(void* to, Lanes lanes, Floats value) {
  _mm256_mask_storeu_epi16(to, lanes, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
}
inline void store_bfloats(void* to, Lanes lanes, Floats value) {
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_mask_storeu_epi16(to, lanes, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
inline void store_narrowed(void* to, Lanes lanes, Integers value) {  // 0..255 each, as u8
  _mm_mask_storeu_epi8(to, lanes, _mm512_cvtepi32_epi8(value));
}

inline Floats to_floats(Integers value) { return _mm512_cvtepi32_ps(value); }
inline Integers to_integers(Floats value) { return _mm512_cvtps_epi32(value); }  // nearest
inline Integers subtract(Integers a, Integers b) { return _mm512_sub_epi32(a, b); }

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm512_fmsub_ps(a, b, c); }
// c - a * b
inline Floats subtract_product(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
// The second if they compare equal, or not at all.
inline Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
inline Floats nearest(Floats x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// y * 2^power for a whole power.
inline Floats scale_by_power(Floats y, Floats power) { return _mm512_scalef_ps(y, power); }
// 2^x to 1.5e-7 relative, 2^-100 below that: products of smaller numbers with values, and sums of
// them, would leave f32's normal range, where each takes some hundred cycles. A polynomial for the
// part behind the point, the rest is the exponent. NaN stays NaN.
inline Floats exponential2(Floats x) {
  x = larger(set(-100), x);
  const Floats part = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
  Floats y = multiply_add(set(1.877576675e-03F), part, set(8.989340091e-03F));
  y = multiply_add(y, part, set(5.582631805e-02F));
  y = multiply_add(y, part, set(2.401536170e-01F));
  y = multiply_add(y, part, set(6.931530732e-01F));
  y = multiply_add(y, part, set(9.999999251e-01F));
  return _mm512_scalef_ps(y, x);
}
// The same to 1e-4, a tenth of what rounding to bf16 takes, and however small. The cubic is the one
// that is nearest to 2^z on [0, 1), relatively.
inline Floats rough_exponential2(Floats x) {
  const Floats part = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  Floats y = multiply_add(set(0.07802403F), part, set(0.22606707F));
  y = multiply_add(y, part, set(0.695834F));
  y = multiply_add(y, part, set(0.99992514F));
  return _mm512_scalef_ps(y, x);  // by 2^floor(x)
}
// 1 / x. A division would cost as much as an exponential; one Newton step is as accurate.
inline Floats reciprocal(Floats x) {
  const Floats inverse = _mm512_rcp14_ps(x);
  return multiply_add(inverse, subtract_product(x, inverse, set(1)), inverse);
}
inline Floats scale_negative(Floats x, Floats factor) {
  return _mm512_mask_mul_ps(x, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), x, factor);
}
inline Floats keep(Lanes lanes, Floats x) { return _mm512_maskz_mov_ps(lanes, x); }
// `x` where lanes are on, else `other`.
inline Floats choose(Lanes lanes, Floats x, Floats other) {
  return _mm512_mask_mov_ps(other, lanes, x);
}
inline float largest_lane(Floats x) { return _mm512_reduce_max_ps(x); }
inline float sum_of_lanes(Floats x) { return _mm512_reduce_add_ps(x); }

// The s8 codes of four vectors with saturation, in order.
inline Integers pack_codes(Integers a, Integers b, Integers c, Integers d) {
  // Packing works inside 128-bit lanes: lane i ends up with the i-th four codes of a, b, c and d.
  const __m512i lanes = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, lanes);
}
// Those of one and of four vectors.
inline void store_codes(std::byte* to, Integers a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(a));
}
inline void store_codes(std::byte* to, Integers a, Integers b, Integers c, Integers d) {
  _mm512_storeu_si512(to, pack_codes(a, b, c, d));
}

// 64 bytes.
using Bytes = __m512i;
constexpr std::int64_t kByteLanes = 64;
using ByteLanes = __mmask64;
inline ByteLanes first_bytes(std::int64_t count) {
  return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}
inline Bytes set_bytes(std::uint8_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }
inline Bytes load_bytes(const std::uint8_t* from, ByteLanes lanes) {
  return _mm512_maskz_loadu_epi8(lanes, from);
}
inline void store_bytes(std::uint8_t* to, ByteLanes lanes, Bytes value) {
  _mm512_mask_storeu_epi8(to, lanes, value);
}
inline Bytes larger(Bytes a, Bytes b) { return _mm512_max_epu8(a, b); }
inline Bytes add_saturated(Bytes a, Bytes b) { return _mm512_adds_epu8(a, b); }
inline Bytes subtract_saturated(Bytes a, Bytes b) { return _mm512_subs_epu8(a, b); }

inline __m512d pairs(Floats a) { return _mm512_castps_pd(a); }
// Pairs, fours, then quarters of registers change places.
inline void transpose(Floats (&rows)[kLanes]) {
  Floats t[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 4) {
    rows[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs(t[i]), pairs(t[i + 2])));
    rows[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs(t[i]), pairs(t[i + 2])));
    rows[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pairs(t[i + 1]), pairs(t[i + 3])));
    rows[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pairs(t[i + 1]), pairs(t[i + 3])));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Floats a = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0x88);
    const Floats b = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0x88);
    const Floats c = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0xdd);
    const Floats d = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0xdd);
    t[i] = _mm512_shuffle_f32x4(a, b, 0x88);
    t[8 + i] = _mm512_shuffle_f32x4(a, b, 0xdd);
    t[4 + i] = _mm512_shuffle_f32x4(c, d, 0x88);
    t[12 + i] = _mm512_shuffle_f32x4(c, d, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = t[i];
}

}  // namespace
}  // namespace fovea::engine::kernels
