// 3x3 convolution by Winograd's minimal filtering: of f32 or f16 pixels with f32 sums, of u8 pixels
// in integers, exactly. A task is a block of neighbouring tiles: their pixels are transformed, every
// element of the transform is a matrix product by the register tiles of convolution_tiled, and the
// results are transformed back, a strip at a time, and finished like those of any convolution. A
// block of few channels stays in the L2 cache.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"
#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/kernels/winograd.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr int kOut = kWinogradOut;
constexpr int kSide = kWinogradSide;
constexpr int kElements = kWinogradElements;
constexpr std::int64_t kFloat = sizeof(float);
constexpr std::int64_t kLine = 64;
constexpr std::int64_t kStripBytes = 16384;        // half of an L1
constexpr std::array kMediumFirst = {24, 12, 48};  // tiles in a block
constexpr std::array kLongFirst = {48, 24, 12};
constexpr std::int64_t kFewestTiles = 6;      // in a task: a block reads all weights
constexpr std::int64_t kFewestChannels = 16;  // below, transforms cost more than they save

// Planes of a transform would fall into one set of the cache if they lay a power of two apart.
std::int64_t plane_of(std::int64_t elements, std::int64_t bytes) {
  const std::int64_t lines = (elements * bytes + kLine - 1) / kLine;
  return (lines % 2 == 1 ? lines : lines + 1) * kLine / bytes;
}

// Of the register tiles of a matrix product with this many blocks; what remains takes narrower
// ones.
int product_blocks(const TileSet& tiles, std::int64_t blocks) {
  if (blocks == 5 && tiles.product_blocks == 4) return 5;
  return static_cast<int>(std::min<std::int64_t>(blocks, tiles.product_blocks));
}

class WinogradConvolution final : public Kernel {
 public:
  WinogradConvolution(const ConvolutionSpec& spec, const WinogradTactic& tactic,
                      const CpuFeatures& features)
      : spec_(spec),
        name_(tactic.name()),
        element_(element_bytes(spec.compute)),
        integer_(spec.compute == DataType::kUint8),
        transformed_(integer_ ? 2 : kFloat),
        steps_(integer_ ? (spec.in_channels + 1) / 2 : spec.in_channels),
        in_channels_(round_up(spec.in_channels, kBlock)),
        out_channels_(round_up(spec.out_channels, kBlock)),
        tiles_across_((spec.out_width + kOut - 1) / kOut),
        tiles_((spec.out_height + kOut - 1) / kOut * tiles_across_),
        block_(std::min<std::int64_t>(tactic.tiles, tiles_)),
        in_plane_(plane_of(block_ * in_channels_, transformed_)),
        out_plane_(plane_of(block_ * out_channels_, kFloat)),
        functions_(best_winograd(spec.compute, features).functions),
        tile_functions_(*best_winograd(spec.compute, features).products),
        product_blocks_(product_blocks(tile_functions_, out_channels_ / kBlock)),
        finisher_(spec, best_rows(features)),
        strip_tiles_(std::max<std::int64_t>(
            kStripBytes / (kOut * kOut * out_channels_ * finisher_.strip_element_bytes()), 1)),
        folded_(fold(spec)),
        zeros_(zeroed(kMaxBlocks * kBlock * kFloat)) {
    if (spec.forms != nullptr) {
      weights_ =
          spec.forms->find_or_make(fmt::format("winograd type {} blocks {}",
                                               static_cast<int>(spec.compute), product_blocks_),
                                   [&] { return pack(); });
    } else {
      weights_ = pack();
    }
    const auto channels = static_cast<std::size_t>(out_channels_);
    folded_.start.resize(channels);
    folded_.scale.resize(channels);
    folded_.bias.resize(channels);
    // The pixels that may be read.
    if (spec.physically_padded) {
      top_ = -spec.pad_top;
      left_ = -spec.pad_left;
      bottom_ = spec.out_height + 2 - spec.pad_top;
      right_ = spec.out_width + 2 - spec.pad_left;
    } else {
      bottom_ = spec.in_height;
      right_ = spec.in_width;
    }
    spec_.weights = {};
    spec_.s8_weights = {};
    spec_.weight_scales = {};
    spec_.bias = {};
    spec_.forms = nullptr;
  }

  std::string_view implementation() const override { return name_; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * worker_bytes());
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t most = std::max<std::int64_t>(tiles_ / kFewestTiles, 1);
    const std::int64_t blocks =
        std::max((tiles_ + block_ - 1) / block_,
                 std::min(round_up((tiles_ + block_ - 1) / block_, pool.threads()), most));
    pool.parallel_for(blocks, [&](std::int64_t block, int worker) {
      run_block(arguments, block * tiles_ / blocks, (block + 1) * tiles_ / blocks,
                arguments.scratch + worker * worker_bytes());
    });
  }

 private:
  std::int64_t pixel_bytes() const { return in_channels_ * transformed_; }
  std::int64_t worker_bytes() const {
    const std::int64_t strip =
        strip_tiles_ * kOut * kOut * out_channels_ * finisher_.strip_element_bytes();
    return kElements * (in_plane_ * transformed_ + out_plane_ * kFloat) +
           round_up(std::max(strip, kElements * in_channels_ * element_), kLine);
  }
  std::int64_t weights_per_element() const { return steps_ * out_channels_; }

  // By element of the transform, then channel group, input channel or two, output channel.
  PackedForms::Bytes pack() const {
    AlignedBytes packed = zeroed(kElements * weights_per_element() * kFloat);
    auto* to = reinterpret_cast<float*>(packed.get());
    const std::int64_t group_channels = product_blocks_ * kBlock;
    for (std::int64_t first = 0; first < spec_.out_channels; first += kBlock) {
      const std::int64_t group = first / group_channels * group_channels;
      const std::int64_t stride = std::min(group_channels, out_channels_ - group);
      const std::int64_t lanes = std::min(kBlock, spec_.out_channels - first);
      for (std::int64_t i = 0; i < spec_.in_channels; ++i) {
        WinogradFilters filters{};
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
          const std::int64_t from = ((first + lane) * spec_.in_channels + i) * 9;
          for (int tap = 0; tap < 9; ++tap) filters.taps[tap][lane] = weight(from + tap);
        }
        filters.transform(integer_);
        if (integer_) {
          auto* at = reinterpret_cast<std::int16_t*>(to + group * steps_ + i / 2 * stride + first -
                                                     group) +
                     i % 2;
          for (int e = 0; e < kElements; ++e) {
            for (int lane = 0; lane < kBlock; ++lane) {
              at[2 * (e * weights_per_element() + lane)] =
                  static_cast<std::int16_t>(filters.elements[e][lane]);
            }
          }
          continue;
        }
        float* at = to + group * steps_ + i * stride + first - group;
        for (int e = 0; e < kElements; ++e) {
          std::copy_n(filters.elements[e], kBlock, at + e * weights_per_element());
        }
      }
    }
    return packed;
  }
  float weight(std::int64_t index) const {
    const auto i = static_cast<std::size_t>(index);
    if (integer_) return spec_.s8_weights[i];
    const float value = spec_.weights[i];
    return spec_.compute == DataType::kFloat16 ? half_to_float(float_to_half(value)) : value;
  }

  void run_block(const Arguments& arguments, std::int64_t first, std::int64_t end,
                 std::byte* scratch) const {
    std::byte* pixels = scratch;
    std::byte* products = pixels + kElements * in_plane_ * transformed_;
    std::byte* rest = products + kElements * out_plane_ * kFloat;  // one thing after the other
    for (std::int64_t tile = first; tile < end; ++tile) {
      transform_pixels(arguments, tile, pixels + (tile - first) * pixel_bytes(), rest);
    }
    for (int element = 0; element < kElements; ++element) {
      multiply(pixels + element * in_plane_ * transformed_, element, end - first,
               products + element * out_plane_ * kFloat);
    }
    for (std::int64_t tile = first; tile < end;) {
      const std::int64_t left_in_row = tiles_across_ - tile % tiles_across_;
      const std::int64_t count = std::min({strip_tiles_, end - tile, left_in_row});
      finish(arguments, tile, count, products + (tile - first) * out_channels_ * kFloat, rest);
      tile += count;
    }
  }

  void transform_pixels(const Arguments& arguments, std::int64_t tile, std::byte* to,
                        std::byte* scratch) const {
    const std::int64_t y = tile / tiles_across_ * kOut - spec_.pad_top;
    const std::int64_t x = tile % tiles_across_ * kOut - spec_.pad_left;
    const auto* picture = static_cast<const std::byte*>(arguments.sources[0]);
    WinogradInputJob job;
    job.channels = spec_.in_channels;
    job.to = to;
    job.to_plane = in_plane_;
    if (y >= top_ && x >= left_ && y + kSide <= bottom_ && x + kSide <= right_) {
      job.source =
          picture + (y * spec_.source.row_stride + x * spec_.source.pixel_stride) * element_;
      job.row_stride = spec_.source.row_stride;
      job.pixel_stride = spec_.source.pixel_stride;
    } else {
      gather(picture, y, x, scratch);
      job.source = scratch;
      job.row_stride = kSide * in_channels_;
      job.pixel_stride = in_channels_;
    }
    functions_.input(job);
  }

  // The pixels of a tile that reaches beyond those that may be read; zero (the zero point) there.
  void gather(const std::byte* picture, std::int64_t y, std::int64_t x, std::byte* to) const {
    const std::int64_t pixel = in_channels_ * element_;
    const int zero = integer_ ? spec_.source.grid.zero_point : 0;
    std::memset(to, zero, static_cast<std::size_t>(kElements * pixel));
    const std::int64_t end_y = std::min(y + kSide, bottom_);
    const std::int64_t end_x = std::min(x + kSide, right_);
    for (std::int64_t row = std::max(y, top_); row < end_y; ++row) {
      for (std::int64_t column = std::max(x, left_); column < end_x; ++column) {
        std::memcpy(to + ((row - y) * kSide + column - x) * pixel,
                    picture + (row * spec_.source.row_stride + column * spec_.source.pixel_stride) *
                                  element_,
                    static_cast<std::size_t>(spec_.in_channels * element_));
      }
    }
  }

  // [tiles, in_channels] x [in_channels, out_channels] of one element of the transform.
  void multiply(const std::byte* pixels, int element, std::int64_t tiles, std::byte* to) const {
    TileJob job;
    job.pixel_stride = pixel_bytes();
    job.last_step = (steps_ - 1) * kStepBytes;
    job.kernel_rows = 1;
    job.taps = 1;
    job.steps = static_cast<int>(steps_);
    job.start = zeros_.get();
    job.to_stride = out_channels_ * kFloat;
    const std::int64_t all = out_channels_ / kBlock;
    for (std::int64_t first = 0; first < all; first += product_blocks_) {
      const auto blocks = static_cast<int>(std::min<std::int64_t>(product_blocks_, all - first));
      job.weights =
          weights_.get() + (element * weights_per_element() + first * kBlock * steps_) * kStepBytes;
      job.source = pixels;
      job.to = to + first * kBlock * kFloat;
      run_tiles(tile_functions_, blocks, 0, job, tiles);
    }
  }
  // `count` tiles beside each other.
  void finish(const Arguments& arguments, std::int64_t tile, std::int64_t count,
              const std::byte* products, std::byte* strip) const {
    const std::int64_t y = tile / tiles_across_ * kOut;
    const std::int64_t x = tile % tiles_across_ * kOut;
    WinogradOutputJob job;
    job.from_plane = out_plane_;
    job.channels = out_channels_;
    job.bias = folded_.bias.data();
    job.start = folded_.start.data();
    job.scale = folded_.scale.data();
    job.codes = finisher_.uses_table();
    const std::int64_t element = finisher_.strip_element_bytes();
    job.pixel_stride = out_channels_;
    job.row_stride = count * kOut * out_channels_;
    for (std::int64_t i = 0; i < count; ++i) {
      job.from = products + i * out_channels_ * kFloat;
      job.to = strip + i * kOut * out_channels_ * element;
      functions_.output(job);
    }
    const std::int64_t rows = std::min<std::int64_t>(kOut, spec_.out_height - y);
    const std::int64_t columns = std::min(count * kOut, spec_.out_width - x);
    for (std::int64_t row = 0; row < rows; ++row) {
      finisher_.finish(arguments, strip + row * job.row_stride * element, out_channels_, y + row, x,
                       columns, 0, spec_.out_channels);
    }
  }

  ConvolutionSpec spec_;  // without its spans
  std::string name_;
  std::int64_t element_;      // bytes of a pixel's channel
  bool integer_;
  std::int64_t transformed_;  // bytes of a transformed pixel's channel
  std::int64_t steps_;        // of a product: one channel or two
  std::int64_t in_channels_;  // whole registers
  std::int64_t out_channels_;
  std::int64_t tiles_across_;
  std::int64_t tiles_;
  std::int64_t block_;  // most tiles in a task
  std::int64_t in_plane_;
  std::int64_t out_plane_;
  WinogradFunctions functions_;
  const TileSet& tile_functions_;
  int product_blocks_;
  Finisher finisher_;
  std::int64_t strip_tiles_;
  Folded folded_;
  PackedForms::Bytes weights_;
  AlignedBytes zeros_;
  std::int64_t top_ = 0;
  std::int64_t left_ = 0;
  std::int64_t bottom_ = 0;
  std::int64_t right_ = 0;
};

// Every sum of u8 pixels times weights is within +-2^25.
bool sums_fit(const ConvolutionSpec& spec) {
  const std::size_t per_channel = static_cast<std::size_t>(spec.in_channels) * 9;
  for (auto rest = spec.s8_weights; !rest.empty(); rest = rest.subspan(per_channel)) {
    std::int64_t positive = 0;
    std::int64_t negative = 0;
    for (const std::int64_t weight : rest.first(per_channel)) {
      (weight > 0 ? positive : negative) += std::abs(weight);
    }
    if (255 * std::max(positive, negative) >= 1 << 25) return false;
  }
  return true;
}

}  // namespace

void WinogradFilters::transform(bool whole) {
  constexpr float kWhole[][3] = {{1, 0, 0}, {1, 1, 1},  {1, -1, 1},
                                 {1, 2, 4}, {1, -2, 4}, {0, 0, 1}};
  constexpr float kReal[][3] = {{1 / 4.F, 0, 0},
                                {-1 / 6.F, -1 / 6.F, -1 / 6.F},
                                {-1 / 6.F, 1 / 6.F, -1 / 6.F},
                                {1 / 24.F, 1 / 12.F, 1 / 6.F},
                                {1 / 24.F, -1 / 12.F, 1 / 6.F},
                                {0, 0, 1}};
  const auto& g = whole ? kWhole : kReal;
  for (int row = 0; row < kSide; ++row) {
    float sums[3][kBlock];  // a row of G times the filter
    for (int x = 0; x < 3; ++x) {
      for (int lane = 0; lane < kBlock; ++lane) {
        sums[x][lane] = g[row][0] * taps[x][lane] + g[row][1] * taps[3 + x][lane] +
                        g[row][2] * taps[6 + x][lane];
      }
    }
    for (int column = 0; column < kSide; ++column) {
      for (int lane = 0; lane < kBlock; ++lane) {
        elements[row * kSide + column][lane] = sums[0][lane] * g[column][0] +
                                               sums[1][lane] * g[column][1] +
                                               sums[2][lane] * g[column][2];
      }
    }
  }
}

std::string WinogradTactic::name() const {
  return fmt::format("{}/{}/{}", isa, integer ? "winograd16" : "winograd4", tiles);
}

std::vector<WinogradTactic> winograd_tactics(const ConvolutionSpec& spec,
                                             const CpuFeatures& features) {
  const bool fits = spec.compute != DataType::kBfloat16 && spec.source.type == spec.compute &&
                    spec.groups == 1 && spec.kernel_height == 3 && spec.kernel_width == 3 &&
                    spec.stride_height == 1 && spec.stride_width == 1 &&
                    spec.dilation_height == 1 && spec.dilation_width == 1;
  const std::int64_t tiles =
      (spec.out_height + kOut - 1) / kOut * ((spec.out_width + kOut - 1) / kOut);
  const bool saves = tiles * kElements < spec.out_height * spec.out_width * 9;
  if (!fits || !saves || spec.in_channels < kFewestChannels ||
      spec.out_channels < kFewestChannels) {
    return {};
  }
  const WinogradImplementation implementation = best_winograd(spec.compute, features);
  const bool integer = spec.compute == DataType::kUint8;
  if (implementation.isa.empty() || (integer && !sums_fit(spec))) return {};
  // Transforms of few channels and loads of many weights both want long blocks.
  const std::int64_t pairs = spec.in_channels * spec.out_channels;
  const bool medium = pairs >= 48 * 48 && pairs <= 96 * 96;
  std::vector<WinogradTactic> tactics;
  for (const int block : medium ? kMediumFirst : kLongFirst) {
    tactics.push_back({implementation.isa, block, integer});
  }
  return tactics;
}

std::unique_ptr<const Kernel> make_winograd_convolution(const ConvolutionSpec& spec,
                                                        const WinogradTactic& tactic,
                                                        const CpuFeatures& features) {
  return std::make_unique<WinogradConvolution>(spec, tactic, features);
}

}  // namespace fovea::engine::kernels
