// Functions of vectors, whatever their width. To be included after one of the *_vectors.hpp, inside
// the same target pragma.
#pragma once

namespace fovea::engine::kernels {
namespace {

// e^x to 2e-7 relative, 0 below e^-87 and infinity above e^88.7. 2^z on [-0.5, 0.5] is a polynomial
// through Chebyshev nodes; log2(e) is split so that the reduced argument is exact for large x too.
inline Floats exponential(Floats x) {
  const Floats high = set(1.44269502F);
  const Floats low = set(1.92596299e-8F);
  x = smaller(set(150), larger(set(-150), x));  // in this order NaN stays
  const Floats power = nearest(x * high);
  const Floats z = multiply_add(x, low, multiply_subtract(x, high, power));
  Floats y = multiply_add(set(0.00133908634F), z, set(0.00967603192F));
  y = multiply_add(y, z, set(0.0555035711F));
  y = multiply_add(y, z, set(0.240221075F));
  y = multiply_add(y, z, set(0.693147188F));
  y = multiply_add(y, z, set(1.00000008F));
  return scale_by_power(y, power);
}

// 1 / (1 + e^-x), to 1e-6 relative from -10 on, to 1e-9 below.
inline Floats logistic(Floats x) {
  return reciprocal(set(1) + exponential2(smaller(set(126), x * set(-1.44269502F))));
}

// erf(x) to 3e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
inline Floats error_function(Floats x) {
  const Floats size = larger(x, set(0) - x);
  const Floats t = set(1) / multiply_add(size, set(0.3275911F), set(1));
  Floats y = multiply_add(set(1.061405429F), t, set(-1.453152027F));
  y = multiply_add(y, t, set(1.421413741F));
  y = multiply_add(y, t, set(-0.284496736F));
  y = multiply_add(y, t, set(0.254829592F));
  const Floats tail = y * t * exponential(larger(set(-87), set(0) - size * size));
  const Floats sign = smaller(set(1), larger(set(-1), x * set(1e38F)));
  return sign * (set(1) - tail);
}

template <Activation kActivation>
inline Floats activate(Floats x, Floats alpha) {
  if constexpr (kActivation == Activation::kSilu) return x * logistic(x);
  if constexpr (kActivation == Activation::kSigmoid) return logistic(x);
  if constexpr (kActivation == Activation::kRelu) return larger(x, set(0));
  if constexpr (kActivation == Activation::kLeakyRelu) return scale_negative(x, alpha);
  if constexpr (kActivation == Activation::kHardSwish) {
    return x * smaller(larger(x / set(6) + set(0.5F), set(0)), set(1));
  }
  return x;
}

// Nearest integer; what is above 127 saturates later, but must not overflow the conversion.
inline Integers to_code(Floats value) { return to_integers(smaller(value, set(127))); }

// a + b - zero_point, exactly, in saturating steps: one of (b - zero_point) and (zero_point - b) is
// zero.
inline Bytes add_codes(Bytes a, Bytes b, Bytes zero_point) {
  return subtract_saturated(add_saturated(a, subtract_saturated(b, zero_point)),
                            subtract_saturated(zero_point, b));
}

}  // namespace
}  // namespace fovea::engine::kernels
