// From a lowered network to a Program over our own kernels: concat and split become addresses, 2x
// upsampling and network outputs become further destinations of the convolution that computes them,
// conversions appear where precisions meet, memory is shared by lifetime.
#pragma once

#include <functional>
#include <string>

#include "nodes/detector/engine/cpu/kernels/convolution.hpp"
#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/onednn/primitives.hpp"
#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine::cpu::native {

// A convolution that is about to become step `step` of the program. For the call only.
struct ConvolutionSite {
  std::size_t step = 0;
  const std::string& layer;
  const kernels::ConvolutionSpec& spec;
};

struct CompileOptions {
  // kFp16 layers run in f32 where the CPU has no half precision arithmetic, real or emulated:
  // there, converting costs more than the smaller pixels give.
  kernels::CpuFeatures features = kernels::cpu_features();
  // A convolution that is not listed, or has no such tactic here, takes its kernel's first guess;
  // the latter is declined.
  LayerTactics tactics = {};
  // Nothing else is there to run what has no fast kernel: the readable ones do, however slow.
  bool alone = !onednn::is_built();
  // For the tuner. An error ends compiling.
  std::function<Result<>(const ConvolutionSite&)> on_convolution = {};
};

// REQUIRES: network.validate(), check_quantization(), shapes inferred for one item.
// Errors: kUnsupported, naming the convolutions that only the readable kernel could run, unless it
// is alone; a quantised network accepts grouped ones, as 8 bits elsewhere pay for them.
Result<Program> compile(NetworkDefinition network, const CompileOptions& options = {});

}  // namespace fovea::engine::cpu::native
