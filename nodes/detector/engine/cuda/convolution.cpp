#include "nodes/detector/engine/cuda/convolution.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include <cuda_fp16.h>
#include <fmt/format.h>

#include "nodes/detector/engine/cuda/kernels/variants.hpp"

namespace fovea::engine::cuda {

namespace {

#define FOVEA_TEXT(name) #name
#define FOVEA_TEXT_OF(name) FOVEA_TEXT(name)
#define FOVEA_ROW(kernel, stride, th, tw, bytes, rows, blocks, wm, wn, wk, stages)              \
  Variant{FOVEA_TEXT_OF(FOVEA_CONVOLUTION_NAME(kernel, stride, th, tw, bytes, rows, blocks, wm, \
                                               wn, wk, stages)),                                \
          kernel,                                                                               \
          stride,                                                                               \
          th,                                                                                   \
          tw,                                                                                   \
          bytes,                                                                                \
          rows,                                                                                 \
          blocks,                                                                               \
          wm,                                                                                   \
          wn,                                                                                   \
          wk,                                                                                   \
          stages},
constexpr auto kVariants = std::to_array<Variant>({FOVEA_CONVOLUTIONS(FOVEA_ROW)});
#undef FOVEA_ROW

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::uint16_t half_bits(float value) { return __half_as_ushort(__float2half_rn(value)); }

// Clocks that one batch takes, roughly: products and fragments of a warp, a fixed part per block, and
// as many rounds of blocks as the multiprocessors need.
std::uint32_t tiles(const Variant& variant, const ConvolutionArguments& c) {
  return static_cast<std::uint32_t>(divide_up(c.out_height, variant.tile_height) *
                                    divide_up(c.out_width, variant.tile_width));
}

double estimate(const Variant& v, const ConvolutionArguments& c, std::int64_t images,
                int multiprocessors) {
  const std::int64_t chunks = divide_up(c.channels * 2, v.bytes);
  const double work = static_cast<double>(divide_up(chunks * v.bytes / 32, v.warps_k)) *
                      (static_cast<double>(v.kernel * v.kernel) *
                       (v.rows * v.blocks * 2 * 8.0 + (v.rows + v.blocks) * 12.0));
  const double fixed = 1500.0 + 300.0 * static_cast<double>(chunks) + (v.warps_k > 1 ? 300.0 : 0.0);
  const std::int64_t blocks =
      static_cast<std::int64_t>(tiles(v, c)) * divide_up(c.out_channels, v.channels()) * images;
  // Several blocks of one multiprocessor hide each other's waiting.
  const double together = std::clamp(200'000.0 / v.shared_bytes(), 1.0, 2048.0 / v.threads());
  const double rounds =
      static_cast<double>(divide_up(blocks, static_cast<std::int64_t>(multiprocessors)));
  const double hidden = std::min(together, rounds);
  return rounds * (work * v.threads() / 128.0 + fixed / std::max(1.0, hidden));
}

}  // namespace

std::uint32_t Variant::shared_bytes() const {
  const std::int32_t halo =
      ((tile_height - 1) * stride + kernel) * ((tile_width - 1) * stride + kernel);
  const std::int32_t ring = stages * halo * (bytes + 16);
  const std::int32_t staged = tile_height * tile_width * (channels() * 2 + 16);
  const std::int32_t sums = (warps_k - 1) * warps_m * warps_n * rows * blocks * 8 * 32 * 4;
  return static_cast<std::uint32_t>(std::max({ring, staged, sums}));
}

std::span<const Variant> variants() { return kVariants; }

bool is_row_convolution(const ConvolutionArguments& c) {
  return c.kernel_height == 1 && c.kernel_width == 1 && c.stride_y == 1 && c.stride_x == 1 &&
         c.pad_top == 0 && c.pad_left == 0 && c.out_height == c.height && c.out_width == c.width;
}

const Variant* chosen_variant(std::span<const Variant* const> fitting, const LayerTactics& tactics,
                              const std::string& layer, std::int64_t images) {
  const auto found = tactics.find(layer);
  if (found == tactics.end()) return fitting.front();
  for (const Variant* variant : fitting) {
    const std::string wanted = fmt::format(" {}={} ", images, variant->name);
    if ((" " + found->second + " ").find(wanted) != std::string::npos) return variant;
  }
  return fitting.front();
}

Choice make_choice(const Variant& variant, ConvolutionArguments convolution, std::int64_t images) {
  convolution.tiles_x =
      static_cast<std::int32_t>(divide_up(convolution.out_width, variant.tile_width));
  Choice choice;
  choice.images = images;
  choice.kernel = variant.name;
  choice.grid = {tiles(variant, convolution), static_cast<std::uint32_t>(divide_up(
                                                  convolution.out_channels, variant.channels()))};
  choice.threads = static_cast<std::uint32_t>(variant.threads());
  choice.shared_bytes = variant.shared_bytes();
  choice.arguments.resize(sizeof convolution);
  std::memcpy(choice.arguments.data(), &convolution, sizeof convolution);
  return choice;
}

std::vector<const Variant*> fitting_variants(const ConvolutionArguments& c, std::int64_t images,
                                             const GpuLimits& limits) {
  std::vector<std::pair<double, const Variant*>> found;
  for (const Variant& variant : kVariants) {
    const bool fits = c.kernel_height == variant.kernel && c.kernel_width == variant.kernel &&
                      c.stride_y == variant.stride && c.stride_x == variant.stride &&
                      (variant.kernel == 1 || (c.dilation_y == 1 && c.dilation_x == 1)) &&
                      c.groups == 1 && c.x_scalar == Scalar::kHalf &&
                      variant.shared_bytes() <= static_cast<std::uint32_t>(limits.shared_bytes);
    if (fits) found.emplace_back(estimate(variant, c, images, limits.multiprocessors), &variant);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<const Variant*> result;
  for (const auto& [cost, variant] : found) result.push_back(variant);
  return result;
}

std::vector<std::byte> pack_fragments(std::span<const float> weights, std::int64_t outputs,
                                      std::int64_t inputs, std::int64_t taps) {
  const std::int64_t blocks = divide_up(outputs, 16);
  const std::int64_t steps = divide_up(inputs, 16);
  std::vector<std::uint16_t> packed(static_cast<std::size_t>(blocks * steps * taps * 32 * 8));
  std::size_t to = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    for (std::int64_t step = 0; step < steps; ++step) {
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        for (std::int64_t lane = 0; lane < 32; ++lane) {
          for (std::int64_t word = 0; word < 4; ++word) {
            const std::int64_t k = block * 16 + word / 2 * 8 + lane / 4;
            for (std::int64_t e = 0; e < 2; ++e) {
              const std::int64_t c = step * 16 + (lane % 4) * 2 + word % 2 * 8 + e;
              const bool inside = k < outputs && c < inputs;
              packed[to++] =
                  inside
                      ? half_bits(weights[static_cast<std::size_t>((k * inputs + c) * taps + tap)])
                      : std::uint16_t{0};
            }
          }
        }
      }
    }
  }
  return bytes_of(packed);
}

StemWeights pack_stem(std::span<const float> weights, std::int64_t outputs, std::int64_t kernel) {
  const std::int64_t blocks = divide_up(outputs, 16);
  const std::int64_t steps = divide_up(kernel * 4, 16);
  const std::int64_t own = 3 * kernel * kernel;
  std::vector<float> scales(static_cast<std::size_t>(blocks * 16), 1.0F);
  for (std::int64_t k = 0; k < outputs; ++k) {
    float largest = 0;
    for (std::int64_t i = 0; i < own; ++i) {
      largest = std::max(largest, std::abs(weights[static_cast<std::size_t>(k * own + i)]));
    }
    // A power of two, so that nothing is rounded twice; sums of bytes stay far from f32's ends.
    if (largest > 0)
      scales[static_cast<std::size_t>(k)] = std::exp2(std::floor(std::log2(largest)));
  }
  std::vector<std::uint16_t> packed;
  for (std::int64_t block = 0; block < blocks; ++block) {
    for (std::int64_t step = 0; step < kernel * steps; ++step) {
      for (std::int64_t lane = 0; lane < 32; ++lane) {
        for (std::int64_t word = 0; word < 4; ++word) {
          const std::int64_t k = block * 16 + word / 2 * 8 + lane / 4;
          for (std::int64_t e = 0; e < 2; ++e) {
            const std::int64_t in_row = step % steps * 16 + (lane % 4) * 2 + word % 2 * 8 + e;
            const std::int64_t column = in_row / 4;
            const std::int64_t channel = in_row % 4;
            const bool inside = k < outputs && column < kernel && channel < 3;
            const std::int64_t from = ((k * 3 + channel) * kernel + step / steps) * kernel + column;
            packed.push_back(inside ? half_bits(weights[static_cast<std::size_t>(from)] /
                                                scales[static_cast<std::size_t>(k)])
                                    : std::uint16_t{0});
          }
        }
      }
    }
  }
  return {bytes_of(packed), bytes_of(scales)};
}

std::vector<std::byte> pack_plain(std::span<const float> weights, std::int64_t outputs,
                                  std::int64_t inputs_per_group, std::int64_t taps,
                                  std::int64_t groups) {
  const std::int64_t own = outputs / groups;
  const std::int64_t padded = divide_up(own, kPlainOutputs) * kPlainOutputs;
  std::vector<float> packed(static_cast<std::size_t>(groups * taps * inputs_per_group * padded));
  for (std::int64_t k = 0; k < outputs; ++k) {
    for (std::int64_t c = 0; c < inputs_per_group; ++c) {
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        packed[static_cast<std::size_t>(((k / own * taps + tap) * inputs_per_group + c) * padded +
                                        k % own)] =
            weights[static_cast<std::size_t>((k * inputs_per_group + c) * taps + tap)];
      }
    }
  }
  return bytes_of(packed);
}

std::vector<std::byte> pack_depthwise(std::span<const float> weights, std::int64_t channels,
                                      std::int64_t taps) {
  std::vector<float> packed(weights.size());
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      packed[static_cast<std::size_t>(tap * channels + c)] =
          weights[static_cast<std::size_t>(c * taps + tap)];
    }
  }
  return bytes_of(packed);
}

std::vector<std::byte> pack_bias(std::span<const float> bias, std::int64_t outputs) {
  constexpr std::int64_t kMostChannels = 256;  // of one block of any kernel
  std::vector<float> packed(static_cast<std::size_t>(outputs + kMostChannels));
  std::copy(bias.begin(), bias.end(), packed.begin());
  return bytes_of(packed);
}

}  // namespace fovea::engine::cuda
