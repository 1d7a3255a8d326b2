// Instruction sets by the names that FOVEA_ISA knows.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "nodes/base/result.hpp"

namespace fovea {

// Of each architecture its own, least first; each stands for all before it of its architecture, as
// on every CPU that has it. The readable code runs everywhere.
enum class InstructionSet : std::uint8_t {
  kScalar,
  kSse4,
  kAvx2,
  kAvxVnni,     // 8-bit dot products in 256 bits
  kAvx512,      // F, BW, VL, DQ
  kAvx512Vnni,  // with VBMI where the CPU has it
  kAvx512Fp16,
  kAmx,          // tiles of 8-bit integers and of bfloat16
  kNeon,         // Armv8.0
  kNeonDotprod,  // 8-bit dot products, optional since Armv8.2
  kI8mm,         // 8-bit matrix products, optional since Armv8.2
};
#if defined(__aarch64__)
inline constexpr InstructionSet kHighestInstructionSet = InstructionSet::kI8mm;
#else
inline constexpr InstructionSet kHighestInstructionSet = InstructionSet::kAmx;
#endif

// "scalar", "sse4", "avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_fp16", "amx", "neon",
// "neon_dotprod", "i8mm".
std::string_view to_string(InstructionSet set);
// Nothing for a name of another architecture.
std::optional<InstructionSet> parse_instruction_set(std::string_view name);
// All of this architecture, highest first, for messages.
std::string instruction_set_names();

// What FOVEA_ISA names, read once per process; nothing without it, or if it names none.
std::optional<InstructionSet> requested_instruction_set();
// Errors: kInvalidArgument for a FOVEA_ISA that names no instruction set of this architecture.
Result<> check_requested_instruction_set();

}  // namespace fovea
