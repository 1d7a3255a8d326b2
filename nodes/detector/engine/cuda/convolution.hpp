// Which kernels compute a convolution, and how they want its weights.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/detector/engine/cuda/kernels/arguments.hpp"
#include "nodes/detector/engine/cuda/program.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine::cuda {

// One row of kernels/variants.hpp: a kernel of the tensor cores.
struct Variant {
  std::string_view name;
  std::int32_t kernel, stride, tile_height, tile_width, bytes, rows, blocks, warps_m, warps_n,
      warps_k, stages;

  constexpr std::int32_t channels() const {
    return 16 * blocks * warps_n;
  }  // of outputs, per block
  constexpr std::int32_t threads() const { return 32 * warps_m * warps_n * warps_k; }
  std::uint32_t shared_bytes() const;
};

std::span<const Variant> variants();

// Those that can run it on a GPU, best guess first. `images`: of a batch. REQUIRES: f16 input of
// whole vectors.
std::vector<const Variant*> fitting_variants(const ConvolutionArguments& convolution,
                                             std::int64_t images, const GpuLimits& limits);
// What `tactics` say for the layer, "1=NAME 8=NAME" by images, or else the first.
const Variant* chosen_variant(std::span<const Variant* const> fitting, const LayerTactics& tactics,
                              const std::string& layer, std::int64_t images);
Choice make_choice(const Variant& variant, ConvolutionArguments convolution, std::int64_t images);

// A 1x1 convolution sees its picture as one row.
bool is_row_convolution(const ConvolutionArguments& convolution);

// Channels that biases and plain weights are padded to.
inline constexpr std::int64_t kPlainOutputs = 16;

// `weights` f32 [outputs][inputs][kh][kw], as ONNX has them, to f16 fragments, see convolution.cuh.
std::vector<std::byte> pack_fragments(std::span<const float> weights, std::int64_t outputs,
                                      std::int64_t inputs, std::int64_t taps);
// The same for stem.cu, f32 [outputs][3][kernel][kernel], and the f32 factors of its sums.
struct StemWeights {
  std::vector<std::byte> fragments;
  std::vector<std::byte> scales;
};
StemWeights pack_stem(std::span<const float> weights, std::int64_t outputs, std::int64_t kernel);
// To f32 [group][tap][input of the group][output of the group, padded], for the plain kernels.
std::vector<std::byte> pack_plain(std::span<const float> weights, std::int64_t outputs,
                                  std::int64_t inputs_per_group, std::int64_t taps,
                                  std::int64_t groups);
// To f32 [tap][channel], for depthwise kernels.
std::vector<std::byte> pack_depthwise(std::span<const float> weights, std::int64_t channels,
                                      std::int64_t taps);
// With zeros behind it: kernels read whole blocks of channels.
std::vector<std::byte> pack_bias(std::span<const float> bias, std::int64_t outputs);

}  // namespace fovea::engine::cuda
