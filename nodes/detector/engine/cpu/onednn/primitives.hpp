// Convolution and pooling through oneDNN (f32, blocked layout, one item): the only file pair that
// knows the library. A kernel that oneDNN would run on its reference code (a thousand times slower)
// is declined. Builds without the library take primitives_absent.cpp, which declines everything.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "nodes/detector/engine/cpu/onednn/channel_layout.hpp"
#include "nodes/detector/engine/cpu/program/program.hpp"
#include "nodes/detector/engine/network.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::cpu::onednn {

// One operator with fixed shapes and packed weights, independent of where its tensors lie.
// Immutable.
struct Primitive {
  std::string implementation;
  // Sources in the layer's order without its constants, the residual last; one destination.
  std::shared_ptr<const OperationFactory> operation;
};

// Whether this build has the library.
bool is_built();

// Picks the instruction set once per process: the best that CPU has, up to what FOVEA_ISA names,
// which must happen before the first kernel is made. Returns the channel block (16 or 8). Errors:
// those of kernels::check_isa().
Result<std::int64_t> select_instruction_set();

// "oneDNN 2.6.3 avx512_core", "no oneDNN": what cached plans and reports name.
std::string library_version();

struct ConvolutionSpec {
  Window window;
  std::int64_t groups = 1;            // 1, or the number of channels (depthwise)
  const Constant* weights = nullptr;  // f32 [out, in / groups, kernel height, kernel width]
  const Constant* bias = nullptr;     // f32 [out] or null
  Activation activation = Activation::kNone;
  float activation_alpha = 0;
  bool residual = false;       // y = activation(conv(x)) + residual, laid out as the output
  bool planar_source = false;  // x lies as plain NCHW (few channels), not blocked
  ChannelLayout source;
  ChannelLayout target;
};

// Errors: kUnsupported with the reason for declining.
Result<Primitive> make_convolution(const ConvolutionSpec& spec, std::int64_t block);
Result<Primitive> make_max_pool(const Window& window, std::int64_t physical_channels,
                             std::int64_t block);

}  // namespace fovea::engine::cpu::onednn
