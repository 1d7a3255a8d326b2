// Convolution by register tiles: packing at creation, and the loop over channel groups, rows and
// strips at run time. Knows no instruction set: that is in the tiles and the row functions.
//
// A unit of work is one strip of pixels of one row for one group of 16 * blocks output channels:
// its tiles write results into a strip in L1, which the row functions then finish and scatter.
// Consecutive units form a task.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"
#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/pair_sums.hpp"
#include "nodes/detector/engine/cpu/kernels/source_rows.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kStripBytes = 8192;   // leaves most of a 32 KiB L1 to pixels and weights
constexpr std::int64_t kTasksPerThread = 8;  // a late thread costs at most an eighth of its share
constexpr std::int64_t kMinTaskSteps =
    2048;  // register steps below which claiming a task costs more than it gives

// How the tiles see the source.
struct SourceView {
  bool staged = false;        // rows are first copied into scratch: converted, padded, or widened
  std::int64_t channels = 0;  // of a staged pixel; at least one step
  std::int64_t element = 0;   // bytes
  std::int64_t pixel_bytes = 0;
  std::int64_t taps = 0;
  std::int64_t run_elements =
      0;  // contiguous elements of one tap: with dense pixels, the whole kernel row
  std::int64_t steps = 0;

  std::int64_t run_bytes() const { return run_elements * element; }
};

SourceView view_source(const ConvolutionSpec& spec, const TileSet& tiles) {
  SourceView view;
  view.element = element_bytes(spec.compute);
  const std::int64_t step_elements = tiles.step_bytes / view.element;
  const auto lay_out = [&](std::int64_t channels, std::int64_t pixel_stride) {
    view.channels = channels;
    view.pixel_bytes = pixel_stride * view.element;
    const bool merged = pixel_stride == channels && spec.dilation_width == 1;
    view.taps = merged ? 1 : spec.kernel_width;
    view.run_elements = merged ? channels * spec.kernel_width : channels;
    view.steps = (view.run_elements + step_elements - 1) / step_elements;
  };
  view.staged = SourceRows::needed(spec);
  lay_out(spec.in_channels, view.staged ? spec.in_channels : spec.source.pixel_stride);
  if (view.run_elements < step_elements) {  // a few channels: widen the pixels
    view.staged = true;
    lay_out(step_elements, step_elements);
  }
  return view;
}

// 1x1 without a picture's edges: all rows are one long row.
bool is_flat(const ConvolutionSpec& spec, const SourceView& view) {
  const auto dense = [&](const Surface& surface) {
    return surface.row_stride == spec.out_width * surface.pixel_stride;
  };
  return !view.staged && spec.kernel_height == 1 && spec.kernel_width == 1 &&
         spec.stride_height == 1 && spec.stride_width == 1 && dense(spec.source) &&
         std::all_of(spec.destinations.begin(), spec.destinations.end(),
                     [&](const Destination& destination) {
                       return destination.repeat == 1 && dense(destination.surface) &&
                              (!destination.residual || dense(*destination.residual));
                     });
}

class TiledConvolution final : public Kernel {
 public:
  TiledConvolution(const ConvolutionSpec& spec, const TiledTactic& tactic,
                   const CpuFeatures& features)
      : spec_(spec),
        name_(tactic.name()),
        weights_outer_(tactic.weights_outer),
        tiles_(&tactic.implementation->tiles()),
        view_(view_source(spec, *tiles_)),
        source_rows_(spec, view_.channels, spec.source.grid, best_rows(features)),
        finisher_(spec, best_rows(features)),
        height_(spec.out_height),
        width_(spec.out_width) {
    if (is_flat(spec, view_)) width_ *= std::exchange(height_, 1);
    const std::int64_t blocks = round_up(spec.out_channels, kBlock) / kBlock;
    std::int64_t weight_bytes = 0;
    std::int64_t widest = 0;
    for (std::int64_t first = 0; first < blocks;) {
      Group group;
      group.first_block = first;
      group.blocks = static_cast<int>(std::min<std::int64_t>(tactic.blocks, blocks - first));
      group.width_index =
          group.blocks == tactic.blocks ? tiles_->width_index(tactic.blocks, tactic.width) : 0;
      group.weights = weight_bytes;
      weight_bytes += steps_per_pixel() * group.blocks * kBlock * tiles_->step_bytes;
      widest = std::max<std::int64_t>(widest, tiles_->widths[group.blocks][group.width_index]);
      groups_.push_back(group);
      first += group.blocks;
    }
    const std::int64_t pixel = groups_[0].blocks * kBlock * finisher_.strip_element_bytes();
    strip_pixels_ =
        std::min(std::max(kStripBytes / pixel / widest, std::int64_t{1}) * widest, width_);
    strip_bytes_ = round_up(strip_pixels_ * pixel, static_cast<std::int64_t>(kAlignment));
    strips_ = (width_ + strip_pixels_ - 1) / strip_pixels_;
    staged_width_ = source_rows_.columns(strip_pixels_);
    pack(weight_bytes, blocks * kBlock);
    spec_.weights = {};
    spec_.s8_weights = {};
    spec_.forms = nullptr;
    spec_.weight_scales = {};
    spec_.bias = {};
  }

  std::string_view implementation() const override { return name_; }

  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * worker_bytes());
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t units = static_cast<std::int64_t>(groups_.size()) * height_ * strips_;
    const std::int64_t steps = steps_per_pixel() * groups_[0].blocks * strip_pixels_ * units;
    std::int64_t tasks = 1;
    if (pool.threads() > 1) {
      tasks = std::min({units, pool.threads() * kTasksPerThread, steps / kMinTaskSteps + 1});
    }
    pool.parallel_for(tasks, [&](std::int64_t task, int worker) {
      std::byte* scratch = arguments.scratch + worker * worker_bytes();
      for (std::int64_t unit = task * units / tasks; unit < (task + 1) * units / tasks; ++unit) {
        run_unit(arguments, unit, scratch);
      }
    });
  }

 private:
  struct Group {
    std::int64_t first_block = 0;
    int blocks = 0;
    std::size_t width_index = 0;
    std::int64_t weights = 0;  // bytes from the start
  };

  std::int64_t steps_per_pixel() const { return spec_.kernel_height * view_.taps * view_.steps; }
  std::int64_t staged_row_bytes() const { return staged_width_ * view_.channels * view_.element; }
  std::int64_t tap_stride() const { return spec_.dilation_width * view_.pixel_bytes; }
  std::int64_t kernel_row_stride() const {
    return view_.staged ? staged_row_bytes()
                        : spec_.dilation_height * spec_.source.row_stride * view_.element;
  }
  std::int64_t worker_bytes() const {
    return strip_bytes_ + (view_.staged ? round_up(spec_.kernel_height * staged_row_bytes(),
                                                   static_cast<std::int64_t>(kAlignment))
                                        : 0);
  }

  AlignedBytes packed_weights(std::int64_t bytes) const {
    AlignedBytes packed = zeroed(bytes);
    switch (spec_.compute) {
      case DataType::kUint8:
        pack_weights(spec_.s8_weights.data(), packed.get(), [](std::int8_t w) { return w; });
        break;
      case DataType::kFloat16:
        pack_weights(spec_.weights.data(), packed.get(), float_to_half);
        break;
      default:
        pack_weights(spec_.weights.data(), packed.get(), [](float w) { return w; });
        break;
    }
    return packed;
  }

  // Weights in the order of their use, and everything per output channel padded with zeros to whole
  // blocks.
  void pack(std::int64_t weight_bytes, std::int64_t channels) {
    AlignedBytes summed_in_pairs;
    const char* form = "";
    if (tiles_->repeats) {
      summed_in_pairs = packed_weights(weight_bytes);
      form = " halved";
      if (!halve(summed_in_pairs.get())) {
        summed_in_pairs = magnitudes(weight_bytes);
        form = " magnitudes";
      }
    }
    const auto make = [&]() -> PackedForms::Bytes {
      return summed_in_pairs ? std::move(summed_in_pairs) : packed_weights(weight_bytes);
    };
    if (spec_.forms != nullptr) {
      const std::string name =
          fmt::format("type {} blocks {} taps {} steps {} of {} channels {} run {}{}",
                      static_cast<int>(spec_.compute), groups_[0].blocks, view_.taps, view_.steps,
                      tiles_->step_bytes, view_.channels, view_.run_elements, form);
      weights_ = spec_.forms->find_or_make(name, make);
    } else {
      weights_ = make();
    }
    Folded folded = fold(spec_, tiles_->pixel_offset);
    folded.start.resize(static_cast<std::size_t>(channels));
    folded.scale.resize(static_cast<std::size_t>(channels));
    folded.bias.resize(static_cast<std::size_t>(channels));
    start_ = zeroed(channels * 4);
    if (spec_.compute == DataType::kUint8) {
      std::memcpy(start_.get(), folded.start.data(), static_cast<std::size_t>(channels) * 4);
    } else if (
        !tiles_->half_sums) {  // f32 sums start from the bias; f16 sums could lose it to rounding
      std::memcpy(start_.get(), folded.bias.data(), static_cast<std::size_t>(channels) * 4);
    }
    scale_ = std::move(folded.scale);
    bias_ = std::move(folded.bias);
  }

  // False, and nothing is kept, where so many steps would be repeated that other tiles are faster.
  bool halve(std::byte* packed) {
    std::size_t repeated = 0;
    for (const Group& group : groups_) {
      for (SecondHalves& half : halve_large_pairs(packed + group.weights, steps_per_pixel(),
                                                  group.blocks * tiles_->registers)) {
        repeated += half.steps.size();
        halves_.push_back(std::move(half));
      }
    }
    const auto steps = static_cast<std::size_t>(steps_per_pixel()) * halves_.size();
    if (tiles_->of_magnitudes != nullptr && repeated * 3 > steps) {
      halves_.clear();
      return false;
    }
    find_repeats();
    return true;
  }

  // Goes over to the tiles that take them.
  AlignedBytes magnitudes(std::int64_t weight_bytes) {
    const AlignedBytes packed = packed_weights(weight_bytes);
    AlignedBytes split = zeroed(2 * weight_bytes);
    split_signs(packed.get(), weight_bytes, split.get());
    tiles_ = tiles_->of_magnitudes;
    for (Group& group : groups_) group.weights *= 2;
    return split;
  }

  // From numbers of steps to what tiles want.
  void find_repeats() {
    const std::int64_t row_stride = kernel_row_stride();
    for (SecondHalves& half : halves_) {
      for (std::int32_t& step : half.steps) {
        const std::int64_t run = step / view_.steps;
        step = static_cast<std::int32_t>(
            run / view_.taps * row_stride + run % view_.taps * tap_stride() +
            std::min(step % view_.steps * kStepBytes, view_.run_bytes() - kStepBytes));
      }
      repeats_.push_back(
          {half.steps.data(), half.weights.data(), static_cast<std::int64_t>(half.steps.size())});
    }
  }

  template <class Weight, class Convert>
  void pack_weights(const Weight* weights, std::byte* packed, Convert convert) const {
    using Packed = decltype(convert(*weights));
    const std::int64_t elements = tiles_->step_bytes / static_cast<std::int64_t>(sizeof(Packed));
    const std::int64_t kernel = spec_.kernel_height * spec_.kernel_width;
    for (const Group& group : groups_) {
      auto* to = reinterpret_cast<Packed*>(packed + group.weights);
      const std::int64_t first = group.first_block * kBlock;
      const std::int64_t lanes = std::min(group.blocks * kBlock, spec_.out_channels - first);
      for (std::int64_t ky = 0; ky < spec_.kernel_height; ++ky) {
        for (std::int64_t tap = 0; tap < view_.taps; ++tap) {
          for (std::int64_t step = 0; step < view_.steps;
               ++step, to += group.blocks * kBlock * elements) {
            for (std::int64_t e = 0; e < elements; ++e) {
              // The last step is moved back to end with the run; what it repeats keeps weight zero.
              const std::int64_t place =
                  std::min(step * elements, view_.run_elements - elements) + e;
              const std::int64_t channel = place % view_.channels;
              if (place < step * elements || channel >= spec_.in_channels) continue;
              const Weight* from = weights + first * spec_.in_channels * kernel + channel * kernel +
                                   ky * spec_.kernel_width + tap + place / view_.channels;
              for (std::int64_t lane = 0; lane < lanes; ++lane) {
                to[lane * elements + e] = convert(from[lane * spec_.in_channels * kernel]);
              }
            }
          }
        }
      }
    }
  }

  void run_unit(const Arguments& arguments, std::int64_t unit, std::byte* scratch) const {
    const auto groups = static_cast<std::int64_t>(groups_.size());
    const std::int64_t strips = height_ * strips_;
    const std::int64_t place = weights_outer_ ? unit % strips : unit / groups;
    const Group& group =
        groups_[static_cast<std::size_t>(weights_outer_ ? unit / strips : unit % groups)];
    const std::int64_t y = place / strips_;
    const std::int64_t x = place % strips_ * strip_pixels_;
    const std::int64_t pixels = std::min(strip_pixels_, width_ - x);
    const std::int64_t channel = group.first_block * kBlock;
    const std::int64_t channels = group.blocks * kBlock;

    TileJob job;
    job.pixel_stride = spec_.stride_width * view_.pixel_bytes;
    job.tap_stride = tap_stride();
    job.kernel_row_stride = kernel_row_stride();
    job.last_step = view_.run_bytes() - tiles_->step_bytes;
    job.kernel_rows = static_cast<int>(spec_.kernel_height);
    job.taps = static_cast<int>(view_.taps);
    job.steps = static_cast<int>(view_.steps);
    job.weights = weights_.get() + group.weights;
    if (tiles_->repeats) job.repeats = repeats_.data() + group.first_block * tiles_->registers;
    job.start = start_.get() + channel * 4;
    job.scale = scale_.data() + channel;
    job.bias = bias_.data() + channel;
    job.codes = finisher_.uses_table();
    if (view_.staged) {
      std::byte* staged = scratch + strip_bytes_;
      for (std::int64_t ky = 0; ky < spec_.kernel_height; ++ky) {
        source_rows_.copy(arguments.sources[0],
                          y * spec_.stride_height - spec_.pad_top + ky * spec_.dilation_height,
                          x * spec_.stride_width - spec_.pad_left, source_rows_.columns(pixels),
                          staged + ky * staged_row_bytes());
      }
      job.source = staged;
    } else {
      const std::int64_t element =
          (y * spec_.stride_height - spec_.pad_top) * spec_.source.row_stride +
          (x * spec_.stride_width - spec_.pad_left) * spec_.source.pixel_stride;
      job.source = static_cast<const std::byte*>(arguments.sources[0]) + element * view_.element;
    }
    std::byte* direct = finisher_.direct(arguments, y, x, channel, channels);
    finisher_.locate(arguments, y, x, channel, channels, job);
    job.to = direct == nullptr ? scratch : direct;
    job.to_stride =
        direct == nullptr ? channels * finisher_.strip_element_bytes() : finisher_.direct_stride();
    run_tiles(*tiles_, group.blocks, group.width_index, job, pixels);
    if (direct == nullptr) {
      finisher_.finish(arguments, scratch, channels, y, x, pixels, channel,
                       std::min(channels, spec_.out_channels - channel));
    }
  }

  ConvolutionSpec spec_;  // without its spans
  std::string name_;
  bool weights_outer_;
  const TileSet* tiles_;
  SourceView view_;
  SourceRows source_rows_;
  Finisher finisher_;
  std::int64_t height_;  // of the loops: 1 if flat
  std::int64_t width_;
  std::vector<Group> groups_;
  std::int64_t strip_pixels_ = 0;
  std::int64_t strip_bytes_ = 0;
  std::int64_t strips_ = 0;  // per row
  std::int64_t staged_width_ = 0;
  PackedForms::Bytes weights_;
  std::vector<SecondHalves> halves_;  // what repeats_ points into
  std::vector<RepeatedSteps> repeats_;
  AlignedBytes start_;
  std::vector<float> scale_;
  std::vector<float> bias_;
};

// Predicted cycles of one pixel row; only the order matters, and a tuner has the last word. Two
// multiply-adds or two loads a cycle, something per tile, per result and per call, and every
// channel group reads the pixels again.
struct Workload {
  std::int64_t blocks = 0;
  std::int64_t width = 0;
  double steps = 0;        // per pixel
  double pixel_bytes = 0;  // of the source, per output pixel
};
double estimate(const Workload& work, const TileSet& tiles, int tile_blocks, int tile_width) {
  constexpr double kPerTile = 12;
  constexpr double kPerResult = 3;
  constexpr double kPerCall = 30;
  constexpr double kBytesPerCycle = 16;
  double cycles = 0;
  for (std::int64_t first = 0; first < work.blocks; first += tile_blocks) {
    const auto blocks = static_cast<int>(std::min<std::int64_t>(tile_blocks, work.blocks - first));
    std::size_t index = blocks == tile_blocks ? tiles.width_index(tile_blocks, tile_width) : 0;
    for (std::int64_t left = work.width; left > 0; ++index) {
      const int width = tiles.widths[blocks][index];
      if (left < width) continue;
      const double weights = blocks * tiles.registers;
      const double results = weights * width;
      const double tile =
          work.steps * std::max(results, weights + width) / 2 + kPerTile + results * kPerResult;
      cycles += static_cast<double>(left / width) * tile + kPerCall;
      left %= width;
    }
    cycles += static_cast<double>(work.width) * work.pixel_bytes / kBytesPerCycle;
  }
  return cycles;
}

}  // namespace

void run_tiles(const TileSet& tiles, int blocks, std::size_t widest, TileJob& job,
               std::int64_t pixels) {
  for (std::size_t i = widest; pixels > 0; ++i) {
    const std::int64_t width = tiles.widths[blocks][i];
    job.pixels = pixels / width * width;
    if (job.pixels == 0) continue;
    tiles.functions[blocks][i](job);
    job.source += job.pixels * job.pixel_stride;
    job.to += job.pixels * job.to_stride;
    if (job.destination != nullptr) job.destination += job.pixels * job.destination_stride;
    pixels -= job.pixels;
  }
}

std::string TiledTactic::name() const {
  return fmt::format("{}/{}x{}/{}", implementation->isa, blocks, width,
                     weights_outer ? "weights" : "pixels");
}

std::vector<TiledTactic> tiled_tactics(const ConvolutionSpec& spec,
                                       const TileImplementation& implementation,
                                       const CpuFeatures& features, std::string& declined) {
  if (!(features.*implementation.needs)) {
    declined = fmt::format("needs {}, the CPU or FOVEA_ISA has: {}", implementation.isa,
                           to_string(features));
    return {};
  }
  if (spec.groups != 1) {
    declined = fmt::format("groups={}", spec.groups);
    return {};
  }
  const TileSet& tiles = implementation.tiles();
  const SourceView view = view_source(spec, tiles);
  const std::int64_t blocks = round_up(spec.out_channels, kBlock) / kBlock;
  const std::int64_t width =
      is_flat(spec, view) ? spec.out_height * spec.out_width : spec.out_width;
  const Workload work{blocks, width,
                      static_cast<double>(spec.kernel_height * view.taps * view.steps),
                      static_cast<double>(spec.in_channels * view.element * spec.stride_height *
                                          spec.stride_width)};
  struct Candidate {
    TiledTactic tactic;
    double cycles;
  };
  std::vector<Candidate> candidates;
  // Fewer cannot hide the latency of a multiply-add.
  const int fewest_sums = tiles.registers == 1 ? 12 : 8;
  for (int b = 1; b <= std::min<std::int64_t>(blocks, kMaxBlocks); ++b) {
    for (const int w : tiles.widths[b]) {
      if (b * w * tiles.registers < fewest_sums && w != tiles.widths[b].front()) continue;
      for (const bool weights_outer : {true, false}) {
        if (!weights_outer && blocks <= b) continue;  // one group: the order is the same
        candidates.push_back({{&implementation, b, w, weights_outer}, estimate(work, tiles, b, w)});
      }
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  std::vector<TiledTactic> tactics;
  tactics.reserve(candidates.size());
  for (Candidate& candidate : candidates) tactics.push_back(std::move(candidate.tactic));
  return tactics;
}

std::unique_ptr<const Kernel> make_tiled_convolution(const ConvolutionSpec& spec,
                                                     const TiledTactic& tactic,
                                                     const CpuFeatures& features) {
  return std::make_unique<TiledConvolution>(spec, tactic, features);
}

}  // namespace fovea::engine::kernels
