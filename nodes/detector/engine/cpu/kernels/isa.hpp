// Which instruction set extensions the kernels may use: what the CPU has, limited by FOVEA_ISA.
// The files named *_avx512*.cpp run only behind these flags; everything else runs on any CPU.
#pragma once

#include <string>
#include <string_view>

namespace fovea::engine::kernels {

struct CpuFeatures {
  bool avx512 = false;       // F, BW, VL, DQ
  bool avx512_vnni = false;  // 8-bit dot products
  bool avx512_vbmi = false;  // 256-byte tables in registers
  bool avx512_fp16 = false;  // native half precision arithmetic
  // The roundings of half precision with f32 sums, slower than f32: where FOVEA_ISA asks for
  // avx512_fp16 and the CPU has none, so that its accuracy can be measured there.
  bool emulated_fp16 = false;

  bool operator==(const CpuFeatures&) const = default;
};

CpuFeatures detect_cpu_features();

// `scalar`, `sse4`, `sse41`, `avx2`: none. `avx512`, `avx512_vnni` (with VBMI), `avx512_fp16`: up
// to and including that one; the last is emulated where it is missing. Empty or anything else: no
// limit, as in nodes/base/simd_target.hpp.
CpuFeatures limit_features(CpuFeatures features, std::string_view isa);

// Both of the above with the environment's FOVEA_ISA, read once per process.
const CpuFeatures& cpu_features();

// "avx512 avx512_vnni avx512_vbmi", "none".
std::string to_string(const CpuFeatures& features);

}  // namespace fovea::engine::kernels
