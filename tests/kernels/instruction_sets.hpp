// What this CPU has, limited to one instruction set after the other, so that a test sees every
// implementation.
#pragma once

#include <algorithm>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"

namespace fovea::kernel_test {

// Each once, the readable kernels ({}) first.
inline std::vector<engine::kernels::CpuFeatures> instruction_sets() {
  std::vector<engine::kernels::CpuFeatures> all;
  for (int set = 0; set <= static_cast<int>(kHighestInstructionSet); ++set) {
    auto features =
        limit_features(engine::kernels::detect_cpu_features(), static_cast<InstructionSet>(set));
    features.emulated_fp16 = false;
    if (std::find(all.begin(), all.end(), features) == all.end()) all.push_back(features);
  }
  return all;
}

}  // namespace fovea::kernel_test
