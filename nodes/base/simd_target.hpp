// Which of the instruction sets that Highway compiled a kernel for to use: the best one that this
// CPU has and that FOVEA_ISA allows. For *_simd.cpp files only; part of fovea::base, header only.
//
// FOVEA_ISA is `scalar`, `sse4`, `avx2` or `avx512`; unset or anything else sets no limit.
// Highway's own dispatch has no such limit but a process-wide one, which would race between
// libraries.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <hwy/targets.h>

namespace fovea::simd {

inline std::string_view requested_isa() {
  const char* isa = std::getenv("FOVEA_ISA");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return isa == nullptr ? std::string_view() : std::string_view(isa);
}

inline bool scalar_requested() { return requested_isa() == "scalar"; }

// Highway targets, as a mask.
inline std::int64_t allowed_targets() {
  std::int64_t targets = hwy::SupportedTargets();
#if HWY_ARCH_X86
  // Better targets have lower bits.
  if (requested_isa() == "sse4") targets &= ~(std::int64_t{HWY_SSE4} - 1);
  if (requested_isa() == "avx2") targets &= ~(std::int64_t{HWY_AVX2} - 1);
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
