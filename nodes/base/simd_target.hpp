// Which of the instruction sets that Highway compiled a kernel for to use: the best one that this
// CPU has and that FOVEA_ISA allows. For *_simd.cpp files only.
//
// Highway's own dispatch has no such limit but a process-wide one, which would race between
// libraries.
#pragma once

#include <cstddef>
#include <cstdint>

#include <hwy/targets.h>

#include "nodes/base/instruction_set.hpp"

namespace fovea::simd {

inline bool scalar_requested() { return requested_instruction_set() == InstructionSet::kScalar; }

// Highway targets, as a mask.
inline std::int64_t allowed_targets() {
  std::int64_t targets = hwy::SupportedTargets();
#if HWY_ARCH_X86
  // Better targets have lower bits.
  const InstructionSet allowed = requested_instruction_set().value_or(kHighestInstructionSet);
  if (allowed < InstructionSet::kAvx2) targets &= ~(std::int64_t{HWY_SSE4} - 1);
  if (allowed < InstructionSet::kAvx512) targets &= ~(std::int64_t{HWY_AVX2} - 1);
#endif
  return targets;
}

// Place of the best of `targets` in a table made by HWY_EXPORT.
inline std::size_t table_index(std::int64_t targets) {
  hwy::ChosenTarget chosen;
  chosen.Update(targets);
  return chosen.GetIndex();
}

}  // namespace fovea::simd
