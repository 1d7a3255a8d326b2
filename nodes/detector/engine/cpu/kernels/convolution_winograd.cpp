// 3x3 convolution of f32 or f16 pixels, with f32 sums, by Winograd's minimal filtering. A task is a
// block of neighbouring tiles: their pixels are transformed, every element of the transform is a
// matrix product by the register tiles of convolution_tiled, and the results are transformed back,
// a strip at a time, and finished like those of any convolution. A block of few channels stays in
// the L2 cache.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <fmt/format.h>

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
constexpr std::int64_t kLine = 64 / kFloat;        // floats in a cache line
constexpr std::int64_t kStripFloats = 4096;        // half of an L1
constexpr std::array kMediumFirst = {24, 12, 48};  // tiles in a block
constexpr std::array kLongFirst = {48, 24, 12};
constexpr std::int64_t kFewestTiles = 6;      // in a task: a block reads all weights
constexpr std::int64_t kFewestChannels = 16;  // below, transforms cost more than they save

// Planes of a transform would fall into one set of the cache if they lay a power of two apart.
std::int64_t plane_of(std::int64_t floats) {
  return floats / kLine % 2 == 1 ? floats : floats + kLine;
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
        in_channels_(round_up(spec.in_channels, kBlock)),
        out_channels_(round_up(spec.out_channels, kBlock)),
        tiles_across_((spec.out_width + kOut - 1) / kOut),
        tiles_((spec.out_height + kOut - 1) / kOut * tiles_across_),
        block_(std::min<std::int64_t>(tactic.tiles, tiles_)),
        in_plane_(plane_of(block_ * in_channels_)),
        out_plane_(plane_of(block_ * out_channels_)),
        strip_tiles_(std::max<std::int64_t>(kStripFloats / (kOut * kOut * out_channels_), 1)),
        functions_(best_winograd(spec.compute, features).functions),
        tile_functions_(best_tiles(DataType::kFloat32, features)->tiles()),
        product_blocks_(product_blocks(tile_functions_, out_channels_ / kBlock)),
        finisher_(spec, best_rows(features)),
        bias_(static_cast<std::size_t>(out_channels_), 0.0F),
        zeros_(zeroed(kMaxBlocks * kBlock * kFloat)) {
    if (spec.forms != nullptr) {
      weights_ =
          spec.forms->find_or_make(fmt::format("winograd type {} blocks {}",
                                               static_cast<int>(spec.compute), product_blocks_),
                                   [&] { return pack(); });
    } else {
      weights_ = pack();
    }
    std::copy(spec.bias.begin(), spec.bias.end(), bias_.begin());
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
    spec_.bias = {};
    spec_.forms = nullptr;
  }

  std::string_view implementation() const override { return name_; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * worker_floats() * kFloat);
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t most = std::max<std::int64_t>(tiles_ / kFewestTiles, 1);
    const std::int64_t blocks =
        std::max((tiles_ + block_ - 1) / block_,
                 std::min(round_up((tiles_ + block_ - 1) / block_, pool.threads()), most));
    pool.parallel_for(blocks, [&](std::int64_t block, int worker) {
      float* scratch = reinterpret_cast<float*>(arguments.scratch) + worker * worker_floats();
      run_block(arguments, block * tiles_ / blocks, (block + 1) * tiles_ / blocks, scratch);
    });
  }

 private:
  std::int64_t strip_floats() const { return strip_tiles_ * kOut * kOut * out_channels_; }
  std::int64_t worker_floats() const {
    return kElements * (in_plane_ + out_plane_) +
           std::max(strip_floats(), kElements * in_channels_);
  }
  std::int64_t weights_per_element() const { return spec_.in_channels * out_channels_; }

  // By element of the transform, then channel group, input channel, output channel.
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
          const float* from =
              &spec_
                   .weights[static_cast<std::size_t>(((first + lane) * spec_.in_channels + i) * 9)];
          for (int tap = 0; tap < 9; ++tap) {
            filters.taps[tap][lane] = spec_.compute == DataType::kFloat16
                                          ? half_to_float(float_to_half(from[tap]))
                                          : from[tap];
          }
        }
        filters.transform();
        float* at = to + group * spec_.in_channels + i * stride + first - group;
        for (int e = 0; e < kElements; ++e) {
          std::copy_n(filters.elements[e], kBlock, at + e * weights_per_element());
        }
      }
    }
    return packed;
  }

  void run_block(const Arguments& arguments, std::int64_t first, std::int64_t end,
                 float* scratch) const {
    float* pixels = scratch;
    float* products = pixels + kElements * in_plane_;
    float* rest = products + kElements * out_plane_;  // one thing after the other
    for (std::int64_t tile = first; tile < end; ++tile) {
      transform_pixels(arguments, tile, pixels + (tile - first) * in_channels_, rest);
    }
    for (int element = 0; element < kElements; ++element) {
      multiply(pixels + element * in_plane_, element, end - first, products + element * out_plane_);
    }
    for (std::int64_t tile = first; tile < end;) {
      const std::int64_t left_in_row = tiles_across_ - tile % tiles_across_;
      const std::int64_t count = std::min({strip_tiles_, end - tile, left_in_row});
      finish(arguments, tile, count, products + (tile - first) * out_channels_, rest);
      tile += count;
    }
  }

  void transform_pixels(const Arguments& arguments, std::int64_t tile, float* to,
                        float* scratch) const {
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

  // The pixels of a tile that reaches beyond those that may be read; zero there.
  void gather(const std::byte* picture, std::int64_t y, std::int64_t x, void* to) const {
    const std::int64_t pixel = in_channels_ * element_;
    std::memset(to, 0, static_cast<std::size_t>(kElements * pixel));
    const std::int64_t end_y = std::min(y + kSide, bottom_);
    const std::int64_t end_x = std::min(x + kSide, right_);
    for (std::int64_t row = std::max(y, top_); row < end_y; ++row) {
      for (std::int64_t column = std::max(x, left_); column < end_x; ++column) {
        std::memcpy(static_cast<std::byte*>(to) + ((row - y) * kSide + column - x) * pixel,
                    picture + (row * spec_.source.row_stride + column * spec_.source.pixel_stride) *
                                  element_,
                    static_cast<std::size_t>(spec_.in_channels * element_));
      }
    }
  }

  // [tiles, in_channels] x [in_channels, out_channels] of one element of the transform.
  void multiply(const float* pixels, int element, std::int64_t tiles, float* to) const {
    TileJob job;
    job.pixel_stride = in_channels_ * kFloat;
    job.last_step = (spec_.in_channels - 1) * kFloat;
    job.kernel_rows = 1;
    job.taps = 1;
    job.steps = static_cast<int>(spec_.in_channels);
    job.start = zeros_.get();
    job.to_stride = out_channels_ * kFloat;
    const std::int64_t all = out_channels_ / kBlock;
    for (std::int64_t first = 0; first < all; first += product_blocks_) {
      const auto blocks = static_cast<int>(std::min<std::int64_t>(product_blocks_, all - first));
      job.weights = weights_.get() +
                    (element * weights_per_element() + first * kBlock * spec_.in_channels) * kFloat;
      job.source = reinterpret_cast<const std::byte*>(pixels);
      job.to = reinterpret_cast<std::byte*>(to + first * kBlock);
      run_tiles(tile_functions_, blocks, 0, job, tiles);
    }
  }
  // `count` tiles beside each other.
  void finish(const Arguments& arguments, std::int64_t tile, std::int64_t count,
              const float* products, float* strip) const {
    const std::int64_t y = tile / tiles_across_ * kOut;
    const std::int64_t x = tile % tiles_across_ * kOut;
    WinogradOutputJob job;
    job.from_plane = out_plane_;
    job.channels = out_channels_;
    job.bias = bias_.data();
    job.pixel_stride = out_channels_;
    job.row_stride = count * kOut * out_channels_;
    for (std::int64_t i = 0; i < count; ++i) {
      job.from = products + i * out_channels_;
      job.to = strip + i * kOut * out_channels_;
      functions_.output(job);
    }
    const std::int64_t rows = std::min<std::int64_t>(kOut, spec_.out_height - y);
    const std::int64_t columns = std::min(count * kOut, spec_.out_width - x);
    for (std::int64_t row = 0; row < rows; ++row) {
      finisher_.finish(arguments, reinterpret_cast<const std::byte*>(strip + row * job.row_stride),
                       out_channels_, y + row, x, columns, 0, spec_.out_channels);
    }
  }

  ConvolutionSpec spec_;  // without its spans
  std::string name_;
  std::int64_t element_;      // bytes of a pixel's channel
  std::int64_t in_channels_;  // whole registers
  std::int64_t out_channels_;
  std::int64_t tiles_across_;
  std::int64_t tiles_;
  std::int64_t block_;  // most tiles in a task
  std::int64_t in_plane_;
  std::int64_t out_plane_;
  std::int64_t strip_tiles_;
  WinogradFunctions functions_;
  const TileSet& tile_functions_;
  int product_blocks_;
  Finisher finisher_;
  PackedForms::Bytes weights_;
  std::vector<float> bias_;
  AlignedBytes zeros_;
  std::int64_t top_ = 0;
  std::int64_t left_ = 0;
  std::int64_t bottom_ = 0;
  std::int64_t right_ = 0;
};

}  // namespace

void WinogradFilters::transform() {
  constexpr float g[][3] = {{1 / 4.F, 0, 0},
                            {-1 / 6.F, -1 / 6.F, -1 / 6.F},
                            {-1 / 6.F, 1 / 6.F, -1 / 6.F},
                            {1 / 24.F, 1 / 12.F, 1 / 6.F},
                            {1 / 24.F, -1 / 12.F, 1 / 6.F},
                            {0, 0, 1}};
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

std::string WinogradTactic::name() const { return fmt::format("{}/winograd4/{}", isa, tiles); }

std::vector<WinogradTactic> winograd_tactics(const ConvolutionSpec& spec,
                                             const CpuFeatures& features) {
  const bool fits = spec.compute != DataType::kUint8 && spec.compute != DataType::kBfloat16 &&
                    spec.source.type == spec.compute &&
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
  if (implementation.isa.empty()) return {};
  // Transforms of few channels and loads of many weights both want long blocks.
  const std::int64_t pairs = spec.in_channels * spec.out_channels;
  const bool medium = pairs >= 48 * 48 && pairs <= 96 * 96;
  std::vector<WinogradTactic> tactics;
  for (const int block : medium ? kMediumFirst : kLongFirst) {
    tactics.push_back({implementation.isa, block});
  }
  return tactics;
}

std::unique_ptr<const Kernel> make_winograd_convolution(const ConvolutionSpec& spec,
                                                        const WinogradTactic& tactic,
                                                        const CpuFeatures& features) {
  return std::make_unique<WinogradConvolution>(spec, tactic, features);
}

}  // namespace fovea::engine::kernels
