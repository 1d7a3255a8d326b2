// Everything between convolutions: conversions, copies, 2x upsampling, sums, pooling, the
// filling of physical padding. Implementations: avx512, scalar.
#pragma once

#include <memory>
#include <optional>

#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

namespace fovea::engine::kernels {

// to = quantise(activation(from) + addend), element by element, between any two types and grids.
// A conversion is from.type != to.type, a copy is none of it, a sum has an addend, upsampling has
// repeat = 2. Addresses: sources = {from, addend if there is one}, destinations = {to}.
struct PointwiseSpec {
  std::int64_t height = 0;  // of the source
  std::int64_t width = 0;
  std::int64_t channels = 0;
  Surface from{};
  std::optional<Surface> addend{};
  Surface to{};
  int repeat = 1;  // 2: each pixel is written 2 x 2 times
  Activation activation = Activation::kNone;
  float activation_alpha = 0;
};
// Implementations: "copy" (equal bytes), "table" (u8 to u8), "avx512", "scalar".
// Errors: kInvalidArgument for a spec that contradicts itself.
Result<std::unique_ptr<const Kernel>> create_pointwise(
    const PointwiseSpec& spec, const CpuFeatures& features = cpu_features());

// Maximum over windows; positions outside the picture are ignored, whatever memory holds there.
// Equal types; u8 on equal grids. Addresses: sources = {from}, destinations = {to}.
// Costs kernel_height + kernel_width loads per output. from and to may be slices of one buffer
// (SPPF).
struct MaxPoolSpec {
  std::int64_t channels = 0;
  std::int64_t in_height = 0;
  std::int64_t in_width = 0;
  std::int64_t out_height = 0;
  std::int64_t out_width = 0;
  std::int64_t kernel_height = 1;
  std::int64_t kernel_width = 1;
  std::int64_t stride_height = 1;
  std::int64_t stride_width = 1;
  std::int64_t pad_top = 0;
  std::int64_t pad_left = 0;
  Surface from{};
  Surface to{};
};
// Errors: kInvalidArgument for a spec that contradicts itself, a window wholly outside the picture
// included.
Result<std::unique_ptr<const Kernel>> create_max_pool(const MaxPoolSpec& spec,
                                                      const CpuFeatures& features = cpu_features());

// Mean over windows, summed in f32; between any two types and grids. Positions outside the picture
// are not read. Addresses: sources = {from}, destinations = {to}.
struct AveragePoolSpec {
  MaxPoolSpec pool{};
  // They count as zeros, as far as these reach; else they do not count.
  bool count_padding = false;
  std::int64_t pad_bottom = 0;
  std::int64_t pad_right = 0;
};
// Errors: those of create_max_pool(), types and grids apart.
Result<std::unique_ptr<const Kernel>> create_average_pool(
    const AveragePoolSpec& spec, const CpuFeatures& features = cpu_features());

struct Border {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t bottom = 0;
  std::int64_t right = 0;
};
// Writes zero (u8: the zero point) to `channels` channels of the pixels around a picture. Needed
// once per buffer as long as nothing else uses that memory, as kernels never write outside their
// pictures.
void fill_border(void* picture, const Surface& surface, std::int64_t height, std::int64_t width,
                 std::int64_t channels, const Border& border);

}  // namespace fovea::engine::kernels
