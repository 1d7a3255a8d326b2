// Vectors of AVX2 with FMA and F16C, by the names that the *_template.hpp files use;
// avx512_vectors.hpp has the same. To be included inside a target pragma, after all other headers;
// internal linkage, so that no code of this instruction set can stand in for another file's inline
// function.
#pragma once

namespace fovea::engine::kernels {
namespace {

using Floats = __m256;
using Integers = __m256i;  // of 32 bits
constexpr std::int64_t kLanes = 8;
constexpr int kVectorRegisters = 16;

// The lowest lanes of a vector: others load as zero and are not stored. Whole vectors are the rule,
// and masked stores are slow on some CPUs.
struct Lanes {
  std::int64_t count = 0;
  bool all() const { return count >= kLanes; }
  __m256i mask() const {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};
inline Lanes first_lanes(std::int64_t count) { return {count}; }

inline Floats set(float value) { return _mm256_set1_ps(value); }
inline Integers set_integer(std::int32_t value) { return _mm256_set1_epi32(value); }

inline Floats load_floats(const void* from) {
  return _mm256_loadu_ps(static_cast<const float*>(from));
}
inline Floats load_floats(const void* from, Lanes lanes) {
  if (lanes.all()) return load_floats(from);
  return _mm256_maskload_ps(static_cast<const float*>(from), lanes.mask());
}
inline __m128i load_some(const void* from, std::int64_t bytes) {  // 1 to 16, zero beyond
  if (bytes == 16) return _mm_loadu_si128(static_cast<const __m128i*>(from));
  alignas(16) std::byte values[16] = {};
  __builtin_memcpy(values, from, static_cast<std::size_t>(bytes));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(values));
}
inline void store_some(void* to, std::int64_t bytes, __m128i value) {
  if (bytes == 16) return _mm_storeu_si128(static_cast<__m128i*>(to), value);
  alignas(16) std::byte values[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(values), value);
  __builtin_memcpy(to, values, static_cast<std::size_t>(bytes));
}
inline Floats load_halves(const void* from, Lanes lanes) {
  return _mm256_cvtph_ps(lanes.all() ? _mm_loadu_si128(static_cast<const __m128i*>(from))
                                     : load_some(from, lanes.count * 2));
}
inline Floats load_bfloats(const void* from, Lanes lanes) {
  const __m128i halves = lanes.all() ? _mm_loadu_si128(static_cast<const __m128i*>(from))
                                     : load_some(from, lanes.count * 2);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
inline Integers load_integers(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline Integers load_widened(const void* from, Lanes lanes) {  // u8
  return _mm256_cvtepu8_epi32(lanes.all() ? _mm_loadl_epi64(static_cast<const __m128i*>(from))
                                          : load_some(from, lanes.count));
}
inline void store_floats(void* to, Floats value) {
  _mm256_storeu_ps(static_cast<float*>(to), value);
}
inline void store_floats(void* to, Lanes lanes, Floats value) {
  if (lanes.all()) return store_floats(to, value);
  _mm256_maskstore_ps(static_cast<float*>(to), lanes.mask(), value);
}
inline void store_halves(void* to, Lanes lanes, Floats value) {
  const __m128i halves = _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
  if (lanes.all()) return _mm_storeu_si128(static_cast<__m128i*>(to), halves);
  store_some(to, lanes.count * 2, halves);
}
inline void store_bfloats(void* to, Lanes lanes, Floats value) {
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(upper),
                                          _mm256_extracti128_si256(upper, 1));
  if (lanes.all()) return _mm_storeu_si128(static_cast<__m128i*>(to), halves);
  store_some(to, lanes.count * 2, halves);
}
inline void store_narrowed(void* to, Lanes lanes, Integers value) {  // 0..255 each, as u8
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
  const __m128i bytes = _mm_packus_epi16(words, words);
  if (lanes.all()) return _mm_storel_epi64(static_cast<__m128i*>(to), bytes);
  store_some(to, lanes.count, bytes);
}

inline Floats to_floats(Integers value) { return _mm256_cvtepi32_ps(value); }
inline Integers to_integers(Floats value) { return _mm256_cvtps_epi32(value); }  // nearest
inline Integers subtract(Integers a, Integers b) { return _mm256_sub_epi32(a, b); }

inline Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm256_fmsub_ps(a, b, c); }
// c - a * b
inline Floats subtract_product(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }
// The second if they compare equal, or not at all.
inline Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
inline Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
inline Floats nearest(Floats x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline Floats power_of_two(Integers exponent) {  // -126..127
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(exponent, set_integer(127)), 23));
}
// y * 2^power for a whole power. The factor is made in two, so that neither leaves f32's range.
inline Floats scale_by_power(Floats y, Floats power) {
  const Integers whole = to_integers(power);
  const Integers half = _mm256_srai_epi32(whole, 1);
  return y * power_of_two(half) * power_of_two(subtract(whole, half));
}
// 2^x to 2.1e-7 relative, 2^-100 below that. Adding 1.5 * 2^23 rounds to the nearest integer and
// leaves it in the lowest bits, from where it goes into the exponent. NaN stays NaN.
inline Floats exponential2(Floats x) {
  x = larger(set(-100), x);
  const Floats shifted = x + set(12582912);
  const Floats part = x - (shifted - set(12582912));
  Floats y = multiply_add(set(1.327647199e-03F), part, set(9.675541334e-03F));
  y = multiply_add(y, part, set(5.550713273e-02F));
  y = multiply_add(y, part, set(2.402211972e-01F));
  y = multiply_add(y, part, set(6.931469671e-01F));
  y = multiply_add(y, part, set(1.000000072e+00F));
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), exponent));
}
// 1 / x. The estimate of 12 bits would take two Newton steps.
inline Floats reciprocal(Floats x) { return set(1) / x; }
inline Floats scale_negative(Floats x, Floats factor) {
  return _mm256_blendv_ps(x, x * factor, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ));
}
inline Floats keep(Lanes lanes, Floats x) {
  return lanes.all() ? x : _mm256_and_ps(x, _mm256_castsi256_ps(lanes.mask()));
}
// `x` where lanes are on, else `other`.
inline Floats choose(Lanes lanes, Floats x, Floats other) {
  return lanes.all() ? x : _mm256_blendv_ps(other, x, _mm256_castsi256_ps(lanes.mask()));
}
inline float largest_lane(Floats x) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
inline float sum_of_lanes(Floats x) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

// s8 codes of one and of four vectors, with saturation, in order. Packing works inside 128-bit
// lanes.
inline void store_codes(std::byte* to, Integers a) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(words, words));
}
inline void store_codes(std::byte* to, Integers a, Integers b, Integers c, Integers d) {
  const __m256i lanes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permutevar8x32_epi32(lanes, order));
}

// 64 bytes.
struct Bytes {
  __m256i low, high;
};
constexpr std::int64_t kByteLanes = 64;
struct ByteLanes {
  std::int64_t count = 0;
};
inline ByteLanes first_bytes(std::int64_t count) { return {count}; }
inline Bytes set_bytes(std::uint8_t value) {
  const __m256i all = _mm256_set1_epi8(static_cast<char>(value));
  return {all, all};
}
inline __m256i load_half(const std::uint8_t* from, std::int64_t count) {
  if (count >= 32) return load_integers(from);
  if (count <= 0) return _mm256_setzero_si256();
  if (count <= 16) return _mm256_zextsi128_si256(load_some(from, count));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load_some(from, 16)),
                                 load_some(from + 16, count - 16), 1);
}
inline void store_half(std::uint8_t* to, std::int64_t count, __m256i value) {
  if (count >= 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
  } else if (count > 0) {
    store_some(to, count < 16 ? count : 16, _mm256_castsi256_si128(value));
    if (count > 16) store_some(to + 16, count - 16, _mm256_extracti128_si256(value, 1));
  }
}
inline Bytes load_bytes(const std::uint8_t* from, ByteLanes lanes) {
  return {load_half(from, lanes.count), load_half(from + 32, lanes.count - 32)};
}
inline void store_bytes(std::uint8_t* to, ByteLanes lanes, Bytes value) {
  store_half(to, lanes.count, value.low);
  store_half(to + 32, lanes.count - 32, value.high);
}
inline Bytes larger(Bytes a, Bytes b) {
  return {_mm256_max_epu8(a.low, b.low), _mm256_max_epu8(a.high, b.high)};
}
inline Bytes add_saturated(Bytes a, Bytes b) {
  return {_mm256_adds_epu8(a.low, b.low), _mm256_adds_epu8(a.high, b.high)};
}
inline Bytes subtract_saturated(Bytes a, Bytes b) {
  return {_mm256_subs_epu8(a.low, b.low), _mm256_subs_epu8(a.high, b.high)};
}

// Pairs, fours, then halves of registers change places.
inline void transpose(Floats (&rows)[kLanes]) {
  Floats t[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < kLanes; i += 4) {
    rows[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    rows[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    rows[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    rows[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(rows[i], rows[4 + i], 0x20);
    t[4 + i] = _mm256_permute2f128_ps(rows[i], rows[4 + i], 0x31);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; ++i) rows[i] = t[i];
}

}  // namespace
}  // namespace fovea::engine::kernels
