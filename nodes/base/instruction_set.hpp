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

// Least first; each stands for all before it, as on every CPU that has it.
enum class InstructionSet : std::uint8_t {
  kScalar,
  kSse4,
  kAvx2,
  kAvxVnni,     // 8-bit dot products in 256 bits
  kAvx512,      // F, BW, VL, DQ
  kAvx512Vnni,  // with VBMI where the CPU has it
  kAvx512Fp16,
  kAmx,  // tiles of 8-bit integers and of bfloat16
};
inline constexpr InstructionSet kHighestInstructionSet = InstructionSet::kAmx;

// "scalar", "sse4", "avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_fp16", "amx".
std::string_view to_string(InstructionSet set);
std::optional<InstructionSet> parse_instruction_set(std::string_view name);
std::string instruction_set_names();  // all of them, highest first, for messages

// What FOVEA_ISA names, read once per process; nothing without it, or if it names none.
std::optional<InstructionSet> requested_instruction_set();
// Errors: kInvalidArgument for a FOVEA_ISA that names no instruction set.
Result<> check_requested_instruction_set();

}  // namespace fovea
