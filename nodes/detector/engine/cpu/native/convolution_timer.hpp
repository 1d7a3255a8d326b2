// One convolution with each of its tactics, alone, on memory of its own.
//
// Thread safety: none.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/thread_pool.hpp"
#include "nodes/detector/engine/plan/timing_cache.hpp"

namespace fovea::engine::cpu::native {

using KernelFactory = std::function<Result<std::unique_ptr<const kernels::Kernel>>(
    const kernels::ConvolutionSpec&, std::string_view tactic, const kernels::CpuFeatures&)>;

// Everything that its times depend on, in words; neither weights nor grids are part of it.
std::string signature_of(const kernels::ConvolutionSpec& spec);

struct TimedConvolution {
  std::vector<TimedTactic> ranked;    // fastest first
  std::vector<std::string> rejected;  // "TACTIC: reason"
};

// Checks and times `tactics`. A kernel is good if it writes every element of its destinations and
// no byte beside them, the first and the last row as the scalar kernel does and all rows as the
// first good one does. Errors: none for what a kernel does wrong; kExhausted.
Result<TimedConvolution> time_tactics(const kernels::ConvolutionSpec& spec,
                                      std::span<const std::string> tactics,
                                      const kernels::CpuFeatures& features, cpu::ThreadPool& pool,
                                      const KernelFactory& make);

}  // namespace fovea::engine::cpu::native
