// Convolution with everything that follows it in a detector: bias, activation, residual,
// requantisation, and the scatter into the buffers of concats, splits and 2x upsampling.
//
//   auto names = enumerate_tactics(spec).names;  // best guess first, "scalar" last
//   FOVEA_ASSIGN(auto kernel, create_convolution(spec, names[0]));
//   kernel->run({.sources = sources, .destinations = destinations, .scratch = scratch}, pool);
//
// Four kinds of arithmetic, by ConvolutionSpec::compute:
//   kFloat32  f32 weights, f32 sums.
//   kFloat16  f16 weights and activations; f16 sums (AVX512-FP16, tactics avx512_fp16/...) or f32
//             sums (any AVX-512 CPU, tactics avx512/...).
//   kBfloat16 bf16 weights and activations, f32 sums (AMX-BF16, tactics amx/...; else f32
//             arithmetic of widened pixels). A u8 source is not rounded: bf16 holds its codes.
//   kUint8    u8 activations, s8 weights with one scale per output channel, exact 32-bit sums. Two
//             epilogues: with `pre_activation`, the sum is rounded to an s8 code and a table of 256
//             entries per destination does activation and requantisation; without, activation and
//             residual are computed in f32.
// A source whose type is not `compute`, or that has no physical padding, is converted or padded row
// by row in scratch memory as the convolution goes: right for the first layer, which reads the
// caller's u8 picture in any precision, wasteful in the middle of a network.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::kernels {

// Where output channels [first_channel, first_channel + channels) go.
struct Destination {
  Surface surface{};
  std::int64_t first_channel = 0;
  std::int64_t channels = 0;
  int repeat = 1;  // 2: nearest-neighbour upsampling, each pixel is written 2 x 2 times
  // Added after the activation: an image of the output's extents and of these channels. With
  // `pre_activation` it must be u8 on surface.grid.
  std::optional<Surface> residual{};
};

struct ConvolutionSpec {
  DataType compute = DataType::kFloat32;  // kFloat32, kFloat16, kBfloat16 or kUint8
  std::int64_t in_channels = 0;
  std::int64_t in_height = 0;
  std::int64_t in_width = 0;
  std::int64_t out_channels = 0;
  // Output row y reads input rows y * stride_height - pad_top + k * dilation_height, k <
  // kernel_height.
  std::int64_t out_height = 0;
  std::int64_t out_width = 0;
  std::int64_t kernel_height = 1;
  std::int64_t kernel_width = 1;
  std::int64_t stride_height = 1;
  std::int64_t stride_width = 1;
  std::int64_t dilation_height = 1;
  std::int64_t dilation_width = 1;
  std::int64_t pad_top = 0;
  std::int64_t pad_left = 0;
  std::int64_t groups = 1;

  Surface source{};
  // The pixels around the source that windows reach exist in memory and hold zero (u8: the zero
  // point).
  bool physically_padded = false;

  // Copied when the kernel is created. Exactly one kind of weights, in ONNX's order: [out_channels]
  // [in_channels / groups][kernel_height][kernel_width].
  std::span<const float> weights{};           // all but kUint8
  std::span<const std::int8_t> s8_weights{};  // kUint8
  std::span<const float> weight_scales{};     // kUint8: per output channel
  // Of the constant that holds the weights, so that other kernels of it share what this one packs;
  // null: nobody else.
  const PackedForms* forms = nullptr;
  std::span<const float> bias{};  // per output channel, in real units; empty = 0

  Activation activation = Activation::kNone;
  float activation_alpha = 0;
  // kUint8: the s8 grid of the table epilogue, zero point -128..127.
  std::optional<Grid> pre_activation{};
  // With it: what its lowest and its highest code become, in real units; else the activation of
  // their centres.
  std::optional<std::array<float, 2>> end_values{};

  std::vector<Destination> destinations{};
};

// Run's addresses: sources = {source, then the residuals of the destinations that have one, in
// order}; destinations as in the spec.

struct Tactics {
  // Best guess first; a tuner times them all. Empty if create_convolution() refuses the spec.
  std::vector<std::string> names;
  // "avx512_vnni: groups=2": implementations that cannot run this spec, and why.
  std::vector<std::string> declined;
};

// Thread safety: pure. The names depend on the spec's shape, types and layout, and
// those of "winograd16" on how large the sums of its weights are.
Tactics enumerate_tactics(const ConvolutionSpec& spec,
                          const CpuFeatures& features = cpu_features());

// Packs the weights. An empty name takes enumerate_tactics()'s first.
// Errors: kInvalidArgument for a spec that contradicts itself, kUnsupported for a tactic that is
// not enumerated.
Result<std::unique_ptr<const Kernel>> create_convolution(
    const ConvolutionSpec& spec, std::string_view tactic = {},
    const CpuFeatures& features = cpu_features());

// The 256 codes of a table epilogue by the unsigned value of the s8 code: the activation of the
// code's centre, or at the ends `end_values`, rounded to `to`. Public for tests.
std::array<std::uint8_t, 256> activation_table(
    const Grid& pre_activation, Activation activation, float alpha, const Grid& to,
    const std::optional<std::array<float, 2>>& end_values = {});

}  // namespace fovea::engine::kernels
