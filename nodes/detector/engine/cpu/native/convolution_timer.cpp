#include "nodes/detector/engine/cpu/native/convolution_timer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <new>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/half.hpp"

namespace fovea::engine::cpu::native {

namespace {

using kernels::ConvolutionSpec;
using kernels::Kernel;
using kernels::Surface;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kAlignment = 64;
// NaN as f32 and f16. What the kernels are compared with began as something else.
constexpr auto kPoison = std::byte{0xFF};
constexpr auto kOtherPoison = std::byte{0x2A};
constexpr std::chrono::microseconds kSample{200};  // short kernels repeat until it is filled
constexpr int kMostRepeats = 16;

std::int64_t rows_bytes(const Surface& surface, std::int64_t rows) {
  return rows * surface.row_stride * kernels::element_bytes(surface.type);
}

std::string in_words(const Surface& surface) {
  return fmt::format("{} {}/{}", to_string(surface.type), surface.pixel_stride, surface.row_stride);
}

// Memory of a picture and of the pixels around it that windows reach.
class Picture {
 public:
  struct Extents {
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::int64_t channels = 0;
    std::int64_t above = 0;
    std::int64_t left = 0;
  };
  Picture(const Surface& surface, const Extents& extents)
      : surface_(surface), extents_(extents), element_(kernels::element_bytes(surface.type)) {
    before_ = (extents.above * surface.row_stride + extents.left * surface.pixel_stride) * element_;
    before_ = (before_ + kAlign - 1) / kAlign * kAlign;
    const std::int64_t after = (extents.rows - 1) * surface.row_stride +
                               (extents.columns - 1) * surface.pixel_stride + extents.channels;
    bytes_.resize(static_cast<std::size_t>(before_ + after * element_ + 2 * kAlign));
  }

  std::byte* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data());
    return bytes_.data() + (kAlignment - address % kAlignment) % kAlignment + before_;
  }
  void fill(std::byte with) { std::fill(bytes_.begin(), bytes_.end(), with); }

  // Noise, not too wild for the types.
  void randomise() {
    std::uint64_t state = 0x9E3779B97F4A7C15U;
    const auto next = [&] {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      return state;
    };
    const auto real = [&] { return static_cast<float>(next() >> 40) * 0x1p-23F - 1; };
    std::byte* begin = data() - before_;
    const std::size_t size = bytes_.size() - kAlignment;
    for (std::size_t at = 0; at + 4 <= size; at += 4) {
      if (surface_.type == DataType::kFloat32) {
        const float value = real();
        std::memcpy(begin + at, &value, 4);
      } else if (surface_.type == DataType::kFloat16) {
        const std::uint16_t pair[] = {kernels::float_to_half(real()),
                                      kernels::float_to_half(real())};
        std::memcpy(begin + at, pair, 4);
      } else if (surface_.type == DataType::kBfloat16) {
        const std::uint16_t pair[] = {kernels::float_to_bfloat(real()),
                                      kernels::float_to_bfloat(real())};
        std::memcpy(begin + at, pair, 4);
      } else {
        const std::uint64_t bits = next();
        std::memcpy(begin + at, &bits, 4);
      }
    }
  }

  // Empty if rows [first, end) agree; else where and how they do not.
  std::string differs(Picture& from, std::int64_t first, std::int64_t end) {
    const float tolerance = tolerance_against(from, first, end);
    for (std::int64_t y = first; y < end; ++y) {
      for (std::int64_t x = 0; x < extents_.columns; ++x) {
        for (std::int64_t c = 0; c < extents_.channels; ++c) {
          const float is = at(y, x, c);
          const float ought = from.at(y, x, c);
          if (!(std::abs(is - ought) <= tolerance)) {
            return fmt::format("pixel ({}, {}), channel {} is {}; it must be {}", x, y, c, is,
                               ought);
          }
        }
      }
    }
    return {};
  }

  // Erases what may have been written; true if nothing else was.
  bool only_poison_beside() {
    for (std::int64_t y = 0; y < extents_.rows; ++y) {
      for (std::int64_t x = 0; x < extents_.columns; ++x) {
        std::memset(address(y, x, 0), static_cast<int>(kPoison),
                    static_cast<std::size_t>(extents_.channels * element_));
      }
    }
    return std::all_of(bytes_.begin(), bytes_.end(),
                       [](std::byte byte) { return byte == kPoison; });
  }

 private:
  static constexpr std::int64_t kAlign = kAlignment;

  std::byte* address(std::int64_t y, std::int64_t x, std::int64_t c) {
    return data() + (y * surface_.row_stride + x * surface_.pixel_stride + c) * element_;
  }
  float at(std::int64_t y, std::int64_t x, std::int64_t c) {
    const std::byte* from = address(y, x, c);
    if (surface_.type == DataType::kUint8) return static_cast<float>(*from);
    if (element_ == 2) {
      std::uint16_t half = 0;
      std::memcpy(&half, from, sizeof half);
      return surface_.type == DataType::kFloat16 ? kernels::half_to_float(half)
                                                 : kernels::bfloat_to_float(half);
    }
    float value = 0;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  // Sums in another order: some units in the last place of the largest; a table's step or two.
  float tolerance_against(Picture& from, std::int64_t first, std::int64_t end) {
    if (surface_.type == DataType::kUint8) return 3;
    float largest = 0;
    for (std::int64_t y = first; y < end; ++y) {
      for (std::int64_t x = 0; x < extents_.columns; ++x) {
        for (std::int64_t c = 0; c < extents_.channels; ++c) {
          largest = std::max(largest, std::abs(from.at(y, x, c)));
        }
      }
    }
    return largest * (element_ == 2 ? 1e-2F : 1e-4F) + 1e-6F;
  }

  Surface surface_;
  Extents extents_;
  std::int64_t element_;
  std::int64_t before_ = 0;  // bytes
  std::vector<std::byte> bytes_;
};

// Destinations. Rows are those of the convolution, of which an upsampling writes two.
class Outputs {
 public:
  explicit Outputs(const ConvolutionSpec& spec) : rows_(spec.out_height) {
    for (const kernels::Destination& to : spec.destinations) {
      pictures_.emplace_back(to.surface, Picture::Extents{.rows = spec.out_height * to.repeat,
                                                          .columns = spec.out_width * to.repeat,
                                                          .channels = to.channels});
      repeats_.push_back(to.repeat);
    }
    for (Picture& picture : pictures_) addresses_.push_back(picture.data());
  }
  std::span<void* const> addresses() const { return addresses_; }
  // As if the pictures began at `row`.
  std::vector<void*> addresses_from(const ConvolutionSpec& spec, std::int64_t row) {
    std::vector<void*> addresses;
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
      addresses.push_back(pictures_[i].data() +
                          rows_bytes(spec.destinations[i].surface, row * repeats_[i]));
    }
    return addresses;
  }
  void fill(std::byte with) {
    for (Picture& picture : pictures_) picture.fill(with);
  }
  std::string differs(Outputs& from) { return differs(from, 0, rows_); }
  std::string differs(Outputs& from, std::int64_t first, std::int64_t end) {
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
      std::string how =
          pictures_[i].differs(from.pictures_[i], first * repeats_[i], end * repeats_[i]);
      if (!how.empty()) return how;
    }
    return {};
  }
  bool only_poison_beside() {
    bool clean = true;
    for (Picture& picture : pictures_) clean = picture.only_poison_beside() && clean;
    return clean;
  }

 private:
  std::int64_t rows_;
  std::vector<Picture> pictures_;
  std::vector<std::int64_t> repeats_;
  std::vector<void*> addresses_;
};

class Bench {
 public:
  Bench(const ConvolutionSpec& spec, cpu::ThreadPool& pool)
      : pool_(pool), outputs_(spec), scalar_(spec), good_(spec) {
    const std::int64_t above = spec.physically_padded ? spec.pad_top : 0;
    const std::int64_t left = spec.physically_padded ? spec.pad_left : 0;
    const auto reach = [](std::int64_t out, std::int64_t stride, std::int64_t pad,
                          std::int64_t kernel, std::int64_t dilation) {
      return (out - 1) * stride - pad + (kernel - 1) * dilation + 1;
    };
    inputs_.emplace_back(
        spec.source,
        Picture::Extents{.rows = std::max(spec.in_height,
                                          reach(spec.out_height, spec.stride_height, spec.pad_top,
                                                spec.kernel_height, spec.dilation_height)),
                         .columns = std::max(spec.in_width,
                                             reach(spec.out_width, spec.stride_width, spec.pad_left,
                                                   spec.kernel_width, spec.dilation_width)),
                         .channels = spec.in_channels,
                         .above = above,
                         .left = left});
    for (const kernels::Destination& to : spec.destinations) {
      if (!to.residual) continue;
      inputs_.emplace_back(*to.residual, Picture::Extents{.rows = spec.out_height,
                                                          .columns = spec.out_width,
                                                          .channels = to.channels});
    }
    for (Picture& input : inputs_) {
      input.randomise();
      sources_.push_back(input.data());
    }
  }

  // The oracle for check(): the first and the last row of the scalar kernel, which is slow.
  Result<> prepare(const ConvolutionSpec& spec, const kernels::CpuFeatures& features) {
    scalar_.fill(kOtherPoison);
    FOVEA_TRY(add_scalar_row(spec, 0, features));
    return spec.out_height > 1 ? add_scalar_row(spec, spec.out_height - 1, features) : Result<>();
  }

  // Empty if `kernel` computes what it should.
  std::string check(const Kernel& kernel) {
    outputs_.fill(kPoison);
    run(kernel, outputs_);
    for (const std::int64_t row : scalar_rows_) {
      std::string how = outputs_.differs(scalar_, row, row + 1);
      if (!how.empty()) return how;
    }
    if (!has_good_) {  // what it leaves out differs from itself
      good_.fill(kOtherPoison);
      run(kernel, good_);
    }
    std::string how = outputs_.differs(good_);
    if (how.empty() && !outputs_.only_poison_beside()) how = "it writes beside its picture";
    has_good_ = has_good_ || how.empty();
    return how;
  }

  double microseconds(const Kernel& kernel, int repeats) {
    const auto start = Clock::now();
    for (int i = 0; i < repeats; ++i) run(kernel, outputs_);
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count() / repeats;
  }

 private:
  // Runs `row` as a convolution of its own.
  Result<> add_scalar_row(ConvolutionSpec spec, std::int64_t row,
                          const kernels::CpuFeatures& features) {
    const std::int64_t from = row * spec.stride_height - spec.pad_top;
    std::vector<const void*> sources = sources_;
    std::size_t residual = 1;
    for (const kernels::Destination& to : spec.destinations) {
      if (!to.residual) continue;
      sources[residual] = inputs_[residual].data() + rows_bytes(*to.residual, row);
      ++residual;
    }
    if (from >= spec.in_height) return {};  // it reads nothing but padding
    if (from > 0) {
      sources[0] = inputs_[0].data() + rows_bytes(spec.source, from);
      spec.in_height -= from;
    }
    spec.pad_top = std::max(-from, std::int64_t{0});
    spec.out_height = 1;
    FOVEA_ASSIGN(const auto scalar, kernels::create_convolution(spec, "scalar", features));
    run(*scalar, sources, scalar_.addresses_from(spec, row));
    scalar_rows_.push_back(row);
    return {};
  }

  void run(const Kernel& kernel, Outputs& outputs) { run(kernel, sources_, outputs.addresses()); }
  void run(const Kernel& kernel, std::span<const void* const> sources,
           std::span<void* const> destinations) {
    const std::size_t bytes = kernel.scratch_bytes(pool_.threads()) + kAlignment;
    if (scratch_.size() < bytes) scratch_.resize(bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(scratch_.data());
    kernel.run({.sources = sources,
                .destinations = destinations,
                .scratch = scratch_.data() + (kAlignment - address % kAlignment) % kAlignment},
               pool_);
  }

  cpu::ThreadPool& pool_;
  Outputs outputs_;
  Outputs scalar_;  // scalar_rows_ of it
  std::vector<std::int64_t> scalar_rows_;
  Outputs good_;  // of the first kernel that was right
  bool has_good_ = false;
  std::vector<Picture> inputs_;
  std::vector<const void*> sources_;
  std::vector<std::byte> scratch_;
};

struct Candidate {
  std::unique_ptr<const Kernel> kernel;
  TimedTactic timed;
  int repeats = 1;
};

// Rounds over all candidates; who falls far behind the fastest leaves.
void race(Bench& bench, std::vector<Candidate>& candidates) {
  struct Heat {
    int rounds;
    double keep;  // those within so much of the fastest
  };
  constexpr Heat kHeats[] = {{2, 1.25}, {3, 1.08}, {6, 1.0e9}};
  std::size_t racing = candidates.size();
  const auto by_time = [](const Candidate& a, const Candidate& b) {
    return a.timed.us < b.timed.us;
  };
  for (const Heat& heat : kHeats) {
    for (int round = 0; round < heat.rounds; ++round) {
      for (std::size_t i = 0; i < racing; ++i) {
        Candidate& candidate = candidates[i];
        candidate.timed.us =
            std::min(candidate.timed.us, bench.microseconds(*candidate.kernel, candidate.repeats));
      }
    }
    std::sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(racing),
              by_time);
    while (racing > 1 && candidates[racing - 1].timed.us > heat.keep * candidates[0].timed.us) {
      --racing;
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(), by_time);
}

}  // namespace

std::string signature_of(const ConvolutionSpec& spec) {
  std::string text = fmt::format(
      "{} conv {}x{} stride {}x{} dilation {}x{} pad {}x{} groups {}, {}x{}x{} to {}x{}x{}, {}{}, "
      "from {}{}",
      to_string(spec.compute), spec.kernel_height, spec.kernel_width, spec.stride_height,
      spec.stride_width, spec.dilation_height, spec.dilation_width, spec.pad_top, spec.pad_left,
      spec.groups, spec.in_channels, spec.in_height, spec.in_width, spec.out_channels,
      spec.out_height, spec.out_width, to_string(spec.activation),
      spec.pre_activation ? " by table" : "", in_words(spec.source),
      spec.physically_padded ? " padded" : "");
  for (const kernels::Destination& to : spec.destinations) {
    text += fmt::format(", {}+{} to {}{}", to.first_channel, to.channels, in_words(to.surface),
                        to.repeat == 1 ? "" : " twice");
    if (to.residual) text += fmt::format(" plus {}", in_words(*to.residual));
  }
  return text;
}

Result<TimedConvolution> time_tactics(const ConvolutionSpec& spec,
                                      std::span<const std::string> tactics,
                                      const kernels::CpuFeatures& features, cpu::ThreadPool& pool,
                                      const KernelFactory& make) {
  TimedConvolution result;
  Bench bench(spec, pool);
  FOVEA_TRY(bench.prepare(spec, features));
  std::vector<Candidate> candidates;
  for (const std::string& tactic : tactics) {
    auto kernel = make(spec, tactic, features);
    const std::string wrong = kernel ? bench.check(**kernel) : kernel.error().message;
    if (!wrong.empty()) {
      result.rejected.push_back(fmt::format("{}: {}", tactic, wrong));
      continue;
    }
    const double once = bench.microseconds(**kernel, 1);
    const double repeats = static_cast<double>(kSample.count()) / std::max(once, 1.0);
    candidates.push_back({std::move(*kernel),
                          {tactic, once},
                          std::clamp(static_cast<int>(repeats), 1, kMostRepeats)});
  }
  race(bench, candidates);
  for (Candidate& candidate : candidates) result.ranked.push_back(std::move(candidate.timed));
  return result;
}

}  // namespace fovea::engine::cpu::native
