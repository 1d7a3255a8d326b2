// Vectors of NEON (Armv8.0), by the names that the *_template.hpp files use; avx2_vectors.hpp has
// the same. To be included inside a target pragma, after all other headers; internal linkage, so
// that no code of a later instruction set can stand in for another file's inline function.
#pragma once

namespace fovea::engine::kernels {
namespace {

using Floats = float32x4_t;
using Integers = int32x4_t;
constexpr std::int64_t kLanes = 4;
constexpr int kVectorRegisters = 32;

// The lowest lanes of a vector: others load as zero and are not stored. Whole vectors are the rule.
struct Lanes {
  std::int64_t count = 0;
  bool all() const { return count >= kLanes; }
  uint32x4_t mask() const {
    const uint32x4_t places = {0, 1, 2, 3};
    return vcltq_u32(places, vdupq_n_u32(static_cast<std::uint32_t>(count)));
  }
};
inline Lanes first_lanes(std::int64_t count) { return {count}; }

inline Floats set(float value) { return vdupq_n_f32(value); }
inline Integers set_integer(std::int32_t value) { return vdupq_n_s32(value); }

inline uint8x16_t load_some(const void* from, std::int64_t bytes) {  // 1 to 16, zero beyond
  alignas(16) std::uint8_t values[16] = {};
  __builtin_memcpy(values, from, static_cast<std::size_t>(bytes));
  return vld1q_u8(values);
}
inline void store_some(void* to, std::int64_t bytes, uint8x16_t value) {
  alignas(16) std::uint8_t values[16];
  vst1q_u8(values, value);
  __builtin_memcpy(to, values, static_cast<std::size_t>(bytes));
}

inline Floats load_floats(const void* from) { return vld1q_f32(static_cast<const float*>(from)); }
inline Floats load_floats(const void* from, Lanes lanes) {
  if (lanes.all()) return load_floats(from);
  return vreinterpretq_f32_u8(load_some(from, lanes.count * 4));
}
inline uint16x4_t load_words(const void* from, Lanes lanes) {
  if (lanes.all()) return vld1_u16(static_cast<const std::uint16_t*>(from));
  return vget_low_u16(vreinterpretq_u16_u8(load_some(from, lanes.count * 2)));
}
inline void store_words(void* to, Lanes lanes, uint16x4_t value) {
  if (lanes.all()) return vst1_u16(static_cast<std::uint16_t*>(to), value);
  store_some(to, lanes.count * 2, vreinterpretq_u8_u16(vcombine_u16(value, value)));
}
inline Floats load_halves(const void* from, Lanes lanes) {
  return vcvt_f32_f16(vreinterpret_f16_u16(load_words(from, lanes)));
}
inline Floats load_bfloats(const void* from, Lanes lanes) {
  return vreinterpretq_f32_u32(vshll_n_u16(load_words(from, lanes), 16));
}
// 4 bytes into the lowest lane. Into all lanes would take a vector instruction, too.
inline Floats load_lane(const std::byte* from) {
  struct Four {
    std::byte bytes[4];
  };
  Floats lane;
  asm("ldr %s0, %1" : "=w"(lane) : "m"(*reinterpret_cast<const Four*>(from)));
  return lane;
}
inline Integers load_integers(const void* from) {
  return vld1q_s32(static_cast<const std::int32_t*>(from));
}
inline Integers load_widened(const void* from, Lanes lanes) {  // u8
  std::uint32_t codes = 0;
  __builtin_memcpy(&codes, from, static_cast<std::size_t>(lanes.all() ? kLanes : lanes.count));
  const uint8x8_t bytes = vcreate_u8(codes);
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}
inline void store_floats(void* to, Floats value) { vst1q_f32(static_cast<float*>(to), value); }
inline void store_floats(void* to, Lanes lanes, Floats value) {
  if (lanes.all()) return store_floats(to, value);
  store_some(to, lanes.count * 4, vreinterpretq_u8_f32(value));
}
inline void store_halves(void* to, Lanes lanes, Floats value) {
  store_words(to, lanes, vreinterpret_u16_f16(vcvt_f16_f32(value)));
}
inline void store_bfloats(void* to, Lanes lanes, Floats value) {
  const uint32x4_t bits = vreinterpretq_u32_f32(value);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  const uint32x4_t number = vceqq_f32(value, value);
  store_words(to, lanes, vshrn_n_u32(vbslq_u32(number, rounded, quiet), 16));
}
inline void store_lane(void* to, uint8x8_t bytes) {
  const std::uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
  __builtin_memcpy(to, &four, sizeof four);
}
inline void store_narrowed(void* to, Lanes lanes, Integers value) {  // 0..255 each, as u8
  const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(value));
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
  if (lanes.all()) return store_lane(to, bytes);
  store_some(to, lanes.count, vcombine_u8(bytes, bytes));
}

inline Floats to_floats(Integers value) { return vcvtq_f32_s32(value); }
inline Integers to_integers(Floats value) { return vcvtnq_s32_f32(value); }  // nearest
inline Integers subtract(Integers a, Integers b) { return vsubq_s32(a, b); }

inline Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
// a * b - c
inline Floats multiply_subtract(Floats a, Floats b, Floats c) {
  return vfmaq_f32(vnegq_f32(c), a, b);
}
// c - a * b
inline Floats subtract_product(Floats a, Floats b, Floats c) { return vfmsq_f32(c, a, b); }
// The second if the first is no number. REQUIRES: the second is one.
// The second if they compare equal, or not at all.
inline Floats smaller(Floats a, Floats b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
inline Floats larger(Floats a, Floats b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
inline Floats nearest(Floats x) { return vrndnq_f32(x); }
inline Floats power_of_two(Integers exponent) {  // -126..127
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(exponent, set_integer(127)), 23));
}
// y * 2^power for a whole power. The factor is made in two, so that neither leaves f32's range.
inline Floats scale_by_power(Floats y, Floats power) {
  const Integers whole = to_integers(power);
  const Integers half = vshrq_n_s32(whole, 1);
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
  const Integers exponent = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
  return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(y), exponent));
}
// 1 / x. Two Newton steps from an estimate of 8 bits; divisions are not pipelined.
inline Floats reciprocal(Floats x) {
  Floats inverse = vrecpeq_f32(x);
  inverse = inverse * vrecpsq_f32(x, inverse);
  return inverse * vrecpsq_f32(x, inverse);
}
inline Floats scale_negative(Floats x, Floats factor) {
  return vbslq_f32(vcltzq_f32(x), x * factor, x);
}
// `x` where lanes are on, else `other`.
inline Floats choose(Lanes lanes, Floats x, Floats other) {
  return lanes.all() ? x : vbslq_f32(lanes.mask(), x, other);
}
inline Floats keep(Lanes lanes, Floats x) { return choose(lanes, x, set(0)); }
inline float largest_lane(Floats x) { return vmaxvq_f32(x); }
inline float sum_of_lanes(Floats x) { return vaddvq_f32(x); }

// The s8 codes of one and of four vectors with saturation, in order.
inline void store_codes(std::byte* to, Integers a) {
  const int16x4_t words = vqmovn_s32(a);
  store_lane(to, vreinterpret_u8_s8(vqmovn_s16(vcombine_s16(words, words))));
}
inline void store_codes(std::byte* to, Integers a, Integers b, Integers c, Integers d) {
  const int16x8_t low = vqmovn_high_s32(vqmovn_s32(a), b);
  const int16x8_t high = vqmovn_high_s32(vqmovn_s32(c), d);
  vst1q_s8(reinterpret_cast<std::int8_t*>(to), vqmovn_high_s16(vqmovn_s16(low), high));
}

// 64 bytes.
struct Bytes {
  uint8x16_t quarters[4];
};
constexpr std::int64_t kByteLanes = 64;
struct ByteLanes {
  std::int64_t count = 0;
};
inline ByteLanes first_bytes(std::int64_t count) { return {count}; }
template <class Function>
__attribute__((always_inline)) inline Bytes by_quarter(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}
inline Bytes set_bytes(std::uint8_t value) {
  return by_quarter([&](int) { return vdupq_n_u8(value); });
}
inline Bytes load_bytes(const std::uint8_t* from, ByteLanes lanes) {
  return by_quarter([&](int i) {
    const std::int64_t left = lanes.count - i * 16;
    if (left >= 16) return vld1q_u8(from + i * 16);
    return left <= 0 ? vdupq_n_u8(0) : load_some(from + i * 16, left);
  });
}
inline void store_bytes(std::uint8_t* to, ByteLanes lanes, Bytes value) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const std::int64_t left = lanes.count - i * 16;
    if (left >= 16) {
      vst1q_u8(to + i * 16, value.quarters[i]);
    } else if (left > 0) {
      store_some(to + i * 16, left, value.quarters[i]);
    }
  }
}
inline Bytes larger(Bytes a, Bytes b) {
  return by_quarter([&](int i) { return vmaxq_u8(a.quarters[i], b.quarters[i]); });
}
inline Bytes add_saturated(Bytes a, Bytes b) {
  return by_quarter([&](int i) { return vqaddq_u8(a.quarters[i], b.quarters[i]); });
}
inline Bytes subtract_saturated(Bytes a, Bytes b) {
  return by_quarter([&](int i) { return vqsubq_u8(a.quarters[i], b.quarters[i]); });
}

// Pairs, then halves of registers change places.
inline void transpose(Floats (&rows)[kLanes]) {
  const float32x4x2_t a = vtrnq_f32(rows[0], rows[1]);
  const float32x4x2_t b = vtrnq_f32(rows[2], rows[3]);
  for (int i = 0; i < 2; ++i) {
    rows[i] = vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i]));
    rows[2 + i] = vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i]));
  }
}

}  // namespace
}  // namespace fovea::engine::kernels
