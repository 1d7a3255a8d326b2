// Tables in AVX-512 registers. To be included inside a target pragma with VBMI, after all other
// headers; internal linkage as in avx512_vectors.hpp.
#pragma once

namespace fovea::engine::kernels {
namespace {

// The whole table in four registers: two lookups by the low seven bits, chosen by the eighth.
class RegisterTable {
 public:
  explicit RegisterTable(const std::uint8_t* table)
      : t0_(_mm512_loadu_si512(table)),
        t1_(_mm512_loadu_si512(table + 64)),
        t2_(_mm512_loadu_si512(table + 128)),
        t3_(_mm512_loadu_si512(table + 192)) {}
  __m512i operator()(__m512i index) const {
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index),
                                  _mm512_permutex2var_epi8(t0_, index, t1_),
                                  _mm512_permutex2var_epi8(t2_, index, t3_));
  }

 private:
  __m512i t0_, t1_, t2_, t3_;
};

}  // namespace
}  // namespace fovea::engine::kernels
