// AVX-512 pieces that kernel files share. To be included inside their target pragma, after all
// other headers; internal linkage, so that no code of this instruction set can stand in for another
// file's inline function.
#pragma once

namespace fovea::engine::kernels {
namespace {

// The lowest `count` of 16 (64) lanes.
inline __mmask16 first_16(std::int64_t count) {
  return count >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1U << count) - 1);
}
inline __mmask64 first_64(std::int64_t count) {
  return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}

// e^x to 2e-7 relative, 0 below e^-87 and infinity above e^88.7. 2^z on [-0.5, 0.5] is a polynomial
// through Chebyshev nodes; log2(e) is split so that the reduced argument is exact for large x too.
inline __m512 exponential(__m512 x) {
  const __m512 high = _mm512_set1_ps(1.44269502F);
  const __m512 low = _mm512_set1_ps(1.92596299e-8F);
  x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-150)), _mm512_set1_ps(150));
  const __m512 power =
      _mm512_roundscale_ps(_mm512_mul_ps(x, high), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 z = _mm512_fmadd_ps(x, low, _mm512_fmsub_ps(x, high, power));
  __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(0.00133908634F), z, _mm512_set1_ps(0.00967603192F));
  y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(0.0555035711F));
  y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(0.240221075F));
  y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(0.693147188F));
  y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(1.00000008F));
  return _mm512_scalef_ps(y, power);
}

// 1 / (1 + e^-x). A division would cost as much as the polynomial; one Newton step is as accurate.
inline __m512 logistic(__m512 x) {
  const __m512 one = _mm512_set1_ps(1);
  // e^88 keeps the sum finite; beyond, the result is below the smallest normal number anyway.
  const __m512 power =
      exponential(_mm512_min_ps(_mm512_sub_ps(_mm512_setzero_ps(), x), _mm512_set1_ps(87)));
  const __m512 sum = _mm512_add_ps(one, power);
  const __m512 inverse = _mm512_rcp14_ps(sum);
  const __m512 error = _mm512_fnmadd_ps(sum, inverse, one);
  return _mm512_fmadd_ps(inverse, error, inverse);
}

template <Activation kActivation>
inline __m512 activate(__m512 x, __m512 alpha) {
  if constexpr (kActivation == Activation::kSilu) return _mm512_mul_ps(x, logistic(x));
  if constexpr (kActivation == Activation::kSigmoid) return logistic(x);
  if constexpr (kActivation == Activation::kRelu) return _mm512_max_ps(x, _mm512_setzero_ps());
  if constexpr (kActivation == Activation::kLeakyRelu) {
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_mul_ps(x, negative, x, alpha);
  }
  if constexpr (kActivation == Activation::kHardSwish) {
    const __m512 gate = _mm512_add_ps(_mm512_div_ps(x, _mm512_set1_ps(6)), _mm512_set1_ps(0.5F));
    return _mm512_mul_ps(
        x, _mm512_min_ps(_mm512_max_ps(gate, _mm512_setzero_ps()), _mm512_set1_ps(1)));
  }
  return x;
}

}  // namespace
}  // namespace fovea::engine::kernels
