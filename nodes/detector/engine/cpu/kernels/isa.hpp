// Which instruction set extensions the kernels may use: what the CPU has, limited by FOVEA_ISA.
// The files named after an instruction set (*_avx2.cpp, *_neon.cpp, ...) run only behind these
// flags; everything else runs on any CPU.
#pragma once

#include <string>

#include "nodes/base/instruction_set.hpp"

namespace fovea::engine::kernels {

struct CpuFeatures {
  bool avx2 = false;         // with FMA and F16C
  bool avx_vnni = false;     // 8-bit dot products in 256 bits
  bool avx512 = false;       // F, BW, VL, DQ
  bool avx512_vnni = false;  // 8-bit dot products in 512 bits
  bool avx512_vbmi = false;  // 256-byte tables in registers
  bool avx512_fp16 = false;  // native half precision arithmetic
  bool amx_int8 = false;     // tiles of bytes, with VNNI and VBMI
  bool amx_bf16 = false;     // tiles of bfloat16, with AVX512-BF16
  bool neon = false;         // Armv8.0
  bool neon_dotprod = false;  // 8-bit dot products
  bool i8mm = false;          // 8-bit matrix products
  // The roundings of half precision with f32 sums, slower than f32: where FOVEA_ISA asks for
  // avx512_fp16 and the CPU has none, so that its accuracy can be measured there.
  bool emulated_fp16 = false;

  bool operator==(const CpuFeatures&) const = default;
};

CpuFeatures detect_cpu_features();

// Up to and including `highest`; kAvx512Fp16 is emulated where it is missing.
CpuFeatures limit_features(CpuFeatures features, InstructionSet highest);

// Both of the above with the environment's FOVEA_ISA, read once per process.
const CpuFeatures& cpu_features();

// "avx2 avx512 avx512_vnni avx512_vbmi", "none".
std::string to_string(const CpuFeatures& features);

// Errors: kInvalidArgument for a FOVEA_ISA that names no instruction set; kUnsupported, with what
// there is instead, for one that this CPU lacks.
Result<> check_isa();

}  // namespace fovea::engine::kernels
