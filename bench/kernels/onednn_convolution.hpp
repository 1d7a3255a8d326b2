// oneDNN's convolution of the same shape, the rival: f32 or u8 x s8, every layout its own choice,
// SiLU fused.
#pragma once

#include <functional>
#include <string>

#include "tests/kernels/operator_table.hpp"

namespace fovea::bench {

// A call runs it once, on the calling thread's OpenMP threads. Bias included.
// Throws std::runtime_error (dnnl::error) if oneDNN refuses.
struct OneDnnConvolution {
  std::function<void()> run;
  std::string implementation;
};
OneDnnConvolution make_onednn_convolution(const kernel_table::Convolution& shape, bool integer);

}  // namespace fovea::bench
