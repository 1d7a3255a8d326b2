// Convolution on AMX tiles: packing at creation, and the loop over channel groups and pixels at run
// time.
//
// A unit of work is a run of pixels for one group of 16 or 32 output channels. Where rows lie one
// behind the other with nothing but their border between, runs go across the ends of rows: narrow
// maps then fill the tiles of 16 pixels, too. Results that one table turns into one destination's
// codes never leave the registers in between; all others go through a strip in L1 to the row
// functions. Consecutive units form a task.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/amx_permission.hpp"
#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"
#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/source_rows.hpp"
#include "nodes/detector/engine/cpu/kernels/tile_amx.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kGroupChannels = kAmxBlocks * kBlock;
constexpr std::int64_t kStripBytes = 8192;
constexpr std::int64_t kTasksPerThread = 8;
constexpr std::int64_t kMinTaskProducts = 512;  // below which claiming a task costs too much
// What pixels and results of a unit may take of L2 while all groups pass.
constexpr std::int64_t kNearPixelBytes = 65536;
constexpr std::int64_t kOneRow = std::int64_t{1} << 30;  // a pitch that no pixel reaches
// Shorter chunks leave so much of the tiles empty that vectors are faster.
constexpr std::int64_t kMinChunkBytes = 12;

// How the tiles see the source. One tap is a run of bytes: with dense pixels the whole kernel row.
struct View {
  bool staged = false;       // rows are first copied into scratch
  std::int64_t element = 0;  // bytes
  std::int64_t pixel = 0;    // bytes from a pixel to the next
  std::int64_t taps = 0;
  std::int64_t run = 0;    // contiguous bytes of a tap; staged: rounded up to whole steps
  std::int64_t chunk = 0;  // bytes of a run in one product
  std::int64_t pitch = 0;  // pixels from a row to the next, 0 if runs cannot cross

  std::int64_t chunks() const { return run / chunk; }
};

// Of 16 pixels' `bytes` bytes at `at`, how many lie in two cache lines: a tile loads those twice.
int crossings(std::int64_t pixel_stride, std::int64_t at, std::int64_t bytes) {
  int count = 0;
  for (std::int64_t row = 0; row < kAmxPixels; ++row) {
    count += static_cast<int>((row * pixel_stride + at) % kAmxRowBytes + bytes > kAmxRowBytes);
  }
  return count;
}

// The divisor of the run that takes the fewest cycles.
std::int64_t choose_chunk(std::int64_t run, std::int64_t pixel_stride, std::int64_t blocks) {
  constexpr double kPerProduct = 16;
  constexpr double kPerCrossing = 2.8;
  std::int64_t best = 0;
  double least = 0;
  for (std::int64_t chunk = std::min(run, kAmxRowBytes) / kStepBytes * kStepBytes;
       chunk >= kMinChunkBytes; chunk -= kStepBytes) {
    if (run % chunk != 0) continue;
    double cycles = 0;
    for (std::int64_t at = 0; at < run; at += chunk) {
      cycles += kPerProduct * static_cast<double>(blocks) +
                kPerCrossing * crossings(pixel_stride, at, chunk);
    }
    if (best != 0 && cycles >= least) continue;
    best = chunk;
    least = cycles;
  }
  return best;
}

View view_of(const ConvolutionSpec& spec) {
  View view;
  view.element = element_bytes(spec.compute);
  const auto lay_out = [&](std::int64_t pixel_stride) {
    const bool merged = pixel_stride == spec.in_channels && spec.dilation_width == 1;
    view.pixel = pixel_stride * view.element;
    view.taps = merged ? 1 : spec.kernel_width;
    view.run = spec.in_channels * (merged ? spec.kernel_width : 1) * view.element;
  };
  lay_out(spec.source.pixel_stride);
  view.staged = SourceRows::needed(spec) || view.run % kStepBytes != 0;
  if (view.staged) {
    lay_out(spec.in_channels);
    view.run = round_up(view.run, kStepBytes);
  }
  const std::int64_t blocks = spec.out_channels > kBlock ? kAmxBlocks : 1;
  view.chunk = choose_chunk(view.run, spec.stride_width * view.pixel, blocks);
  if (!view.staged && spec.stride_height == 1 && spec.stride_width == 1 &&
      spec.source.row_stride % spec.source.pixel_stride == 0) {
    view.pitch = spec.source.row_stride / spec.source.pixel_stride;
  }
  return view;
}

// bf16 holds codes exactly, but not what they mean: sums of codes are scaled.
bool is_scaled(const ConvolutionSpec& spec) {
  return spec.compute == DataType::kBfloat16 && spec.source.type == DataType::kUint8;
}
Grid staged_grid(const ConvolutionSpec& spec) {
  Grid grid = spec.source.grid;
  if (is_scaled(spec)) grid.scale = 1;
  return grid;
}

// All pixels from the first to the last, those between the rows included.
std::int64_t run_pixels(const ConvolutionSpec& spec, std::int64_t pitch) {
  return (spec.out_height - 1) * pitch + spec.out_width;
}

class AmxConvolution final : public Kernel {
 public:
  AmxConvolution(const ConvolutionSpec& spec, const AmxTactic& tactic, const CpuFeatures& features)
      : spec_(spec),
        name_(tactic.name()),
        weights_outer_(tactic.weights_outer),
        view_(view_of(spec)),
        source_rows_(spec, spec.in_channels, staged_grid(spec), best_rows(features)),
        finisher_(spec, best_rows(features)) {
    const std::int64_t blocks = round_up(spec.out_channels, kBlock) / kBlock;
    std::int64_t weight_bytes = 0;
    for (std::int64_t first = 0; first < blocks;) {
      const auto wide = static_cast<int>(std::min<std::int64_t>(kAmxBlocks, blocks - first));
      groups_.push_back({first * kBlock, wide, weight_bytes});
      weight_bytes += spec.kernel_height * view_.taps * view_.run * wide * kBlock;
      first += wide;
    }
    if (!tactic.across_rows) view_.pitch = 0;
    const std::int64_t row = view_.pitch > 0 ? run_pixels(spec, view_.pitch) : spec.out_width;
    // Weights that stay leave the pixels to stream past; weights that change find them in L2.
    const std::int64_t pixel_bytes =
        spec.in_channels * spec.stride_height * spec.stride_width * view_.element +
        spec.out_channels * finisher_.strip_element_bytes();
    const std::int64_t near =
        std::max(kNearPixelBytes / pixel_bytes / kAmxJobPixels, std::int64_t{1}) * kAmxJobPixels;
    unit_pixels_ = std::min(weights_outer_ ? (view_.pitch == 0 ? row : kAmxJobPixels) : near, row);
    row_units_ = (row + unit_pixels_ - 1) / unit_pixels_;
    rows_ = view_.pitch > 0 ? 1 : spec.out_height;
    row_pixels_ = row;
    if (view_.staged) {
      // What is too short for a tile takes pixels before it along.
      const std::int64_t columns =
          source_rows_.columns(std::min(std::max(unit_pixels_, kAmxPixels), row));
      staged_row_bytes_ = round_up(columns * view_.pixel + kStepBytes, kAmxRowBytes);
    }
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
    const std::int64_t units = static_cast<std::int64_t>(groups_.size()) * rows_ * row_units_;
    const std::int64_t products = units * (unit_pixels_ + kAmxPixels - 1) / kAmxPixels *
                                  kAmxBlocks * spec_.kernel_height * view_.taps * view_.chunks();
    std::int64_t tasks = 1;
    if (pool.threads() > 1) {
      tasks = std::min({units, pool.threads() * kTasksPerThread, products / kMinTaskProducts + 1});
    }
    pool.parallel_for(tasks, [&](std::int64_t task, int worker) {
      const AmxTiles tiles(view_.chunk);
      std::byte* strip = arguments.scratch + worker * worker_bytes();
      const std::int64_t end = (task + 1) * units / tasks;
      for (std::int64_t unit = task * units / tasks; unit < end;) {
        unit += run_units(arguments, unit, end - unit, strip);
      }
    });
  }

 private:
  std::int64_t worker_bytes() const {
    return kStripBytes + spec_.kernel_height * staged_row_bytes_;
  }

  struct Group {
    std::int64_t channel = 0;
    int blocks = 0;
    std::int64_t weights = 0;  // bytes from the start
  };

  // Weights in the order of their use, and everything per output channel padded with zeros to whole
  // blocks.
  void pack(std::int64_t weight_bytes, std::int64_t channels) {
    const auto make = [&] { return packed_weights(weight_bytes); };
    if (spec_.forms != nullptr) {
      weights_ = spec_.forms->find_or_make(
          fmt::format("amx type {} taps {} run {}", static_cast<int>(spec_.compute), view_.taps,
                      view_.run),
          make);
    } else {
      weights_ = make();
    }
    Folded folded = fold(spec_);
    folded.start.resize(static_cast<std::size_t>(channels));
    folded.scale.resize(static_cast<std::size_t>(channels));
    folded.bias.resize(static_cast<std::size_t>(channels));
    if (is_scaled(spec_)) {
      for (float& bias : folded.bias) bias /= spec_.source.grid.scale;
      folded.scale.assign(folded.scale.size(), spec_.source.grid.scale);
    }
    start_ = zeroed(channels * kAmxPixels * 4);
    const auto* start = spec_.compute == DataType::kUint8
                            ? reinterpret_cast<const std::byte*>(folded.start.data())
                            : reinterpret_cast<const std::byte*>(folded.bias.data());
    for (const Group& group : groups_) {
      const std::int64_t bytes = group.blocks * kBlock * 4;
      std::byte* to = start_.get() + group.channel * kAmxPixels * 4;
      for (std::int64_t row = 0; row < kAmxPixels; ++row) {
        std::memcpy(to + row * bytes, start + group.channel * 4, static_cast<std::size_t>(bytes));
      }
    }
    scale_ = std::move(folded.scale);
    bias_ = std::move(folded.bias);
  }

  PackedForms::Bytes packed_weights(std::int64_t bytes) const {
    AlignedBytes packed = zeroed(bytes);
    if (spec_.compute == DataType::kUint8) {
      pack_weights(spec_.s8_weights.data(), packed.get(), [](std::int8_t w) { return w; });
    } else {
      pack_weights(spec_.weights.data(), packed.get(), float_to_bfloat);
    }
    return packed;
  }

  template <class Weight, class Convert>
  void pack_weights(const Weight* weights, std::byte* packed, Convert convert) const {
    using Packed = decltype(convert(*weights));
    constexpr auto kElements = kStepBytes / static_cast<std::int64_t>(sizeof(Packed));
    const std::int64_t kernel = spec_.kernel_height * spec_.kernel_width;
    const std::int64_t filter = spec_.in_channels * kernel;
    const std::int64_t run = view_.run / view_.element;
    const std::int64_t tap_elements =
        spec_.in_channels * (view_.taps == 1 ? spec_.kernel_width : 1);
    for (const Group& group : groups_) {
      auto* to = reinterpret_cast<Packed*>(packed + group.weights);
      const std::int64_t wide = group.blocks * kBlock;
      const std::int64_t lanes = std::min(wide, spec_.out_channels - group.channel);
      const Weight* filters = weights + group.channel * filter;
      for (std::int64_t ky = 0; ky < spec_.kernel_height; ++ky) {
        for (std::int64_t tap = 0; tap < view_.taps; ++tap) {
          for (std::int64_t place = 0; place < tap_elements; ++place) {
            const std::int64_t kx = tap + place / spec_.in_channels;
            const std::int64_t channel = place % spec_.in_channels;
            const Weight* from = filters + channel * kernel + ky * spec_.kernel_width + kx;
            Packed* at = to + place / kElements * wide * kElements + place % kElements;
            for (std::int64_t lane = 0; lane < lanes; ++lane) {
              at[lane * kElements] = convert(from[lane * filter]);
            }
          }
          to += run * wide;
        }
      }
    }
  }

  // Runs `unit`, and those after it that the same weights serve without a gap; returns how many.
  std::int64_t run_units(const Arguments& arguments, std::int64_t unit, std::int64_t most,
                         std::byte* strip) const {
    const auto groups = static_cast<std::int64_t>(groups_.size());
    const std::int64_t places = rows_ * row_units_;
    const std::int64_t place = weights_outer_ ? unit % places : unit / groups;
    const Group& group =
        groups_[static_cast<std::size_t>(weights_outer_ ? unit / places : unit % groups)];
    const std::int64_t first = place % row_units_;
    const std::int64_t count =
        weights_outer_ ? std::min(most, row_units_ - first) : std::int64_t{1};
    const std::int64_t begin = first * unit_pixels_;
    const std::int64_t end = std::min((first + count) * unit_pixels_, row_pixels_);
    run_group(arguments, group, place / row_units_, begin, end, strip);
    return count;
  }

  // Pixels [begin, end) of a row, or across rows of the picture.
  void run_group(const Arguments& arguments, const Group& group, std::int64_t row,
                 std::int64_t begin, std::int64_t end, std::byte* strip) const {
    const std::int64_t channels = group.blocks * kBlock;
    AmxJob job;
    job.pixel_stride = spec_.stride_width * view_.pixel;
    job.kernel_row_stride = view_.staged
                                ? staged_row_bytes_
                                : view_.element * spec_.dilation_height * spec_.source.row_stride;
    job.tap_stride = spec_.dilation_width * view_.pixel;
    job.kernel_rows = static_cast<int>(spec_.kernel_height);
    job.taps = static_cast<int>(view_.taps);
    job.chunks = static_cast<int>(view_.chunks());
    job.chunk_bytes = view_.chunk;
    job.weights = weights_.get() + group.weights;
    job.start = start_.get() + group.channel * kAmxPixels * 4;
    job.scale = scale_.data() + group.channel;
    job.bias = bias_.data() + group.channel;

    const std::int64_t pitch = view_.pitch > 0 ? view_.pitch : kOneRow;
    const auto sole = finisher_.sole_target(arguments, group.channel, channels);
    const bool stripped = !sole || !finishes(*sole);
    AmxResult result = finisher_.uses_table() ? AmxResult::kCodes : AmxResult::kFloats;
    if (stripped) {
      job.to = strip;
      job.to_stride = channels * finisher_.strip_element_bytes();
    } else {
      if (sole->table != nullptr) result = AmxResult::kTable;
      if (sole->type == DataType::kBfloat16) result = AmxResult::kHalves;
      job.table = sole->table;
      job.to_stride = sole->stride;
      job.to_row_stride = sole->row_stride;
      job.residual_stride = sole->residual_stride;
      job.residual_row_stride = sole->residual_row_stride;
      job.residual_zero_point = sole->zero_point;
    }
    const std::int64_t most = stripped ? kStripBytes / job.to_stride : end - begin;
    const AmxFunction function =
        spec_.compute == DataType::kUint8
            ? amx_u8(group.blocks, result)
            : amx_bf16(group.blocks, result, spec_.activation, is_scaled(spec_));

    for (std::int64_t next = begin; next < end;) {
      const std::int64_t stop = std::min(next + most, end);
      // What is too short for a tile is moved back into its neighbour's pixels.
      const std::int64_t from = std::max(std::min(next, stop - kAmxPixels), std::int64_t{0});
      const std::int64_t y = row + from / pitch;
      const std::int64_t x = from % pitch;
      job.pixels = stop - from;
      job.source = view_.staged
                       ? stage(arguments.sources[0], y, x, job.pixels, strip + kStripBytes)
                       : static_cast<const std::byte*>(arguments.sources[0]) +
                             view_.element * (source_row(y) * spec_.source.row_stride +
                                              source_column(x) * spec_.source.pixel_stride);
      if (stripped) {
        job.columns = kOneRow;
        job.pitch = kOneRow;
      } else {
        job.skipped = next - from;
        job.column = x;
        job.columns = spec_.out_width;
        job.pitch = pitch;
        job.to = sole->to + y * sole->row_stride;
        if (sole->residual != nullptr) {
          job.residual = sole->residual + y * sole->residual_row_stride;
        }
      }
      function(job);
      if (stripped) {
        finish(arguments, group, row, next, stop, strip + (next - from) * job.to_stride);
      }
      next = stop;
    }
  }

  std::int64_t source_row(std::int64_t y) const { return y * spec_.stride_height - spec_.pad_top; }
  std::int64_t source_column(std::int64_t x) const {
    return x * spec_.stride_width - spec_.pad_left;
  }

  // Copies what `pixels` output pixels from (y, x) on reach.
  const std::byte* stage(const void* source, std::int64_t y, std::int64_t x, std::int64_t pixels,
                         std::byte* to) const {
    const std::int64_t columns = source_rows_.columns(pixels);
    for (std::int64_t ky = 0; ky < spec_.kernel_height; ++ky) {
      std::byte* row = to + ky * staged_row_bytes_;
      source_rows_.copy(source, source_row(y) + ky * spec_.dilation_height, source_column(x),
                        columns, row);
      // The last run's end has weights of zero, but zero times what was there may be no number.
      std::memset(row + columns * view_.pixel, 0, kStepBytes);
    }
    return to;
  }

  // Whether the tiles' own epilogue makes what `target` wants.
  bool finishes(const SoleTarget& target) const {
    if (target.table != nullptr) return true;
    const bool plain = spec_.activation == Activation::kNone;
    if (target.type == DataType::kFloat32) return plain && target.residual == nullptr;
    return spec_.compute == DataType::kBfloat16 && target.type == DataType::kBfloat16 &&
           (plain || spec_.activation == Activation::kSilu) &&
           (target.residual == nullptr || target.residual_type == DataType::kBfloat16);
  }

  // Sends the strip's pixels [next, stop) to their destinations, row by row.
  void finish(const Arguments& arguments, const Group& group, std::int64_t row, std::int64_t next,
              std::int64_t stop, const std::byte* strip) const {
    const std::int64_t channels = group.blocks * kBlock;
    const std::int64_t pitch = view_.pitch > 0 ? view_.pitch : kOneRow;
    while (next < stop) {
      const std::int64_t y = row + next / pitch;
      const std::int64_t x = next % pitch;
      const std::int64_t count = std::min(stop - next, pitch - x);
      const std::int64_t pixels = std::min(count, spec_.out_width - x);
      if (pixels > 0) {
        finisher_.finish(arguments, strip, channels, y, x, pixels, group.channel,
                         std::min(channels, spec_.out_channels - group.channel));
      }
      strip += count * channels * finisher_.strip_element_bytes();
      next += count;
    }
  }

  ConvolutionSpec spec_;  // without its spans
  std::string name_;
  bool weights_outer_;
  View view_;
  SourceRows source_rows_;
  Finisher finisher_;
  std::vector<Group> groups_;
  std::int64_t rows_ = 0;  // of the loops: 1 across rows
  std::int64_t row_pixels_ = 0;
  std::int64_t row_units_ = 0;
  std::int64_t unit_pixels_ = 0;
  std::int64_t staged_row_bytes_ = 0;
  PackedForms::Bytes weights_;
  AlignedBytes start_;
  std::vector<float> scale_;
  std::vector<float> bias_;
};

std::string refusal(const ConvolutionSpec& spec, const CpuFeatures& features) {
  const bool bytes = spec.compute == DataType::kUint8;
  if (!(bytes ? features.amx_int8 : features.amx_bf16)) {
    const std::string& refused = amx_support().refused;
    return fmt::format("needs {}, the CPU or FOVEA_ISA has: {}{}{}",
                       bytes ? "amx_int8" : "amx_bf16", to_string(features),
                       refused.empty() ? "" : "; ", refused);
  }
  if (spec.groups != 1) return fmt::format("groups={}", spec.groups);
  const View view = view_of(spec);
  if (view.chunk == 0) {
    return fmt::format("runs of {} bytes have no divisor of {} to {} bytes in steps of {}",
                       view.run, kMinChunkBytes, kAmxRowBytes, kStepBytes);
  }
  if (view.pitch == 0 && spec.out_width < kAmxPixels) {
    return fmt::format("rows of {} pixels leave tiles of {} empty", spec.out_width, kAmxPixels);
  }
  if (view.pitch > 0 && run_pixels(spec, view.pitch) < kAmxPixels) {
    return fmt::format("{} pixels leave tiles of {} empty", run_pixels(spec, view.pitch),
                       kAmxPixels);
  }
  return {};
}

}  // namespace

std::string AmxTactic::name() const {
  return fmt::format("amx/{}/{}", across_rows ? "picture" : "rows",
                     weights_outer ? "weights" : "pixels");
}

std::vector<AmxTactic> amx_tactics(const ConvolutionSpec& spec, const CpuFeatures& features,
                                   std::string& declined) {
  if (spec.compute != DataType::kUint8 && spec.compute != DataType::kBfloat16) return {};
  declined = refusal(spec, features);
  if (!declined.empty()) return {};
  const View view = view_of(spec);
  const bool rows = spec.out_width >= kAmxPixels;
  std::vector<AmxTactic> tactics;
  const bool one_group = spec.out_channels <= kGroupChannels;  // the order is the same
  const auto add = [&](bool across) {
    tactics.push_back({across, true});
    if (!one_group) tactics.push_back({across, false});
  };
  if (view.pitch > 0) add(true);
  if (rows) add(false);
  return tactics;
}

std::unique_ptr<const Kernel> make_amx_convolution(const ConvolutionSpec& spec,
                                                   const AmxTactic& tactic,
                                                   const CpuFeatures& features) {
  return std::make_unique<AmxConvolution>(spec, tactic, features);
}

}  // namespace fovea::engine::kernels
