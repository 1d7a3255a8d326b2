// Depthwise convolution, one filter per channel: packing at creation, and the loop over rows and
// strips of pixels at run time. A task is one row; its strips keep all channels of some pixels in
// L1 until they are finished.
#include <algorithm>
#include <cstring>
#include <vector>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"
#include "nodes/detector/engine/cpu/kernels/depthwise.hpp"
#include "nodes/detector/engine/cpu/kernels/half.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kStripBytes = 8192;
constexpr std::int64_t kFewestStripPixels = 8;  // the widest tile
constexpr std::int64_t kLaneBytes = 4;

std::int64_t padded_channels(const ConvolutionSpec& spec) {
  return (spec.out_channels + kLanes - 1) / kLanes * kLanes;
}

class DepthwiseConvolution final : public Kernel {
 public:
  DepthwiseConvolution(const ConvolutionSpec& spec, std::string name, const CpuFeatures& features)
      : spec_(spec),
        name_(std::move(name)),
        channels_(padded_channels(spec)),
        tile_(best_depthwise(spec.compute, features).tile),
        finisher_(spec, best_rows(features)) {
    const std::int64_t pixel = channels_ * finisher_.strip_element_bytes();
    strip_pixels_ = std::clamp(kStripBytes / pixel / kFewestStripPixels * kFewestStripPixels,
                               kFewestStripPixels, spec.out_width + kFewestStripPixels);
    strip_bytes_ = (strip_pixels_ * pixel + 63) / 64 * 64;
    pack();
    spec_.weights = {};
    spec_.s8_weights = {};
    spec_.weight_scales = {};
    spec_.bias = {};
  }

  std::string_view implementation() const override { return name_; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * strip_bytes_);
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    pool.parallel_for(spec_.out_height, [&](std::int64_t y, int worker) {
      std::byte* strip = arguments.scratch + worker * strip_bytes_;
      for (std::int64_t x = 0; x < spec_.out_width; x += strip_pixels_) {
        run_strip(arguments, y, x, std::min(strip_pixels_, spec_.out_width - x), strip);
      }
    });
  }

 private:
  // Lanes of 4 bytes by tap, then channel; 16 channels of all taps stay together.
  void pack() {
    const std::int64_t taps = spec_.kernel_height * spec_.kernel_width;
    weights_.resize(static_cast<std::size_t>(channels_ * taps * kLaneBytes));
    for (std::int64_t c = 0; c < spec_.out_channels; ++c) {
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        const auto from = static_cast<std::size_t>(c * taps + tap);
        const std::int64_t to = ((c / kLanes * taps + tap) * kLanes + c % kLanes) * kLaneBytes;
        if (spec_.compute == DataType::kUint8) {
          const std::int32_t weight = spec_.s8_weights[from];
          std::memcpy(weights_.data() + to, &weight, sizeof weight);
        } else {
          float weight = spec_.weights[from];
          if (spec_.compute == DataType::kFloat16) weight = half_to_float(float_to_half(weight));
          std::memcpy(weights_.data() + to, &weight, sizeof weight);
        }
      }
    }
    Folded folded = fold(spec_);
    const auto count = static_cast<std::size_t>(channels_);
    folded.start.resize(count);
    folded.scale.resize(count);
    folded.bias.resize(count);
    start_.resize(count * kLaneBytes);
    if (spec_.compute == DataType::kUint8) {
      std::memcpy(start_.data(), folded.start.data(), start_.size());
    } else {
      std::memcpy(start_.data(), folded.bias.data(), start_.size());
    }
    scale_ = std::move(folded.scale);
    bias_ = std::move(folded.bias);
  }

  void run_strip(const Arguments& arguments, std::int64_t y, std::int64_t x, std::int64_t pixels,
                 std::byte* strip) const {
    const std::int64_t element = element_bytes(spec_.compute);
    const std::int64_t taps = spec_.kernel_height * spec_.kernel_width;
    const std::int64_t strip_element = finisher_.strip_element_bytes();
    const auto* source = static_cast<const std::byte*>(arguments.sources[0]) +
                         ((y * spec_.stride_height - spec_.pad_top) * spec_.source.row_stride +
                          (x * spec_.stride_width - spec_.pad_left) * spec_.source.pixel_stride) *
                             element;
    DepthwiseJob job;
    job.pixel_stride = spec_.stride_width * spec_.source.pixel_stride * element;
    job.kernel_row_stride = spec_.dilation_height * spec_.source.row_stride * element;
    job.tap_stride = spec_.dilation_width * spec_.source.pixel_stride * element;
    job.kernel_rows = static_cast<int>(spec_.kernel_height);
    job.taps = static_cast<int>(spec_.kernel_width);
    job.to_stride = channels_ * strip_element;
    job.codes = finisher_.uses_table();
    job.pixels = pixels;
    for (std::int64_t c = 0; c < spec_.out_channels; c += kLanes) {
      job.source = source + c * element;
      job.lanes = static_cast<int>(std::min(kLanes, spec_.out_channels - c));
      job.weights = weights_.data() + c * taps * kLaneBytes;
      job.start = start_.data() + c * kLaneBytes;
      job.scale = scale_.data() + c;
      job.bias = bias_.data() + c;
      job.to = strip + c * strip_element;
      tile_(job);
    }
    finisher_.finish(arguments, strip, channels_, y, x, pixels, 0, spec_.out_channels);
  }

  ConvolutionSpec spec_;  // without its spans
  std::string name_;
  std::int64_t channels_;  // whole registers
  DepthwiseFunction tile_;
  Finisher finisher_;
  std::int64_t strip_pixels_ = 0;
  std::int64_t strip_bytes_ = 0;
  std::vector<std::byte> weights_;
  std::vector<std::byte> start_;
  std::vector<float> scale_;
  std::vector<float> bias_;
};

}  // namespace

std::string depthwise_tactic(const ConvolutionSpec& spec, const CpuFeatures& features,
                             std::string& declined) {
  if (spec.compute == DataType::kBfloat16 || spec.groups == 1 ||
      spec.in_channels != spec.groups || spec.out_channels != spec.groups) {
    return {};
  }
  const DepthwiseImplementation implementation = best_depthwise(spec.compute, features);
  if (implementation.isa.empty()) return {};  // as dense tiles decline
  const std::string name = fmt::format("{}/depthwise", implementation.isa);
  if (spec.source.type != spec.compute) {
    declined = name + ": the source is of another type";
    return {};
  }
  if (!spec.physically_padded && windows_leave_picture(spec)) {
    declined = name + ": the source has no padding";
    return {};
  }
  return name;
}

std::unique_ptr<const Kernel> make_depthwise_convolution(const ConvolutionSpec& spec,
                                                         std::string name,
                                                         const CpuFeatures& features) {
  return std::make_unique<DepthwiseConvolution>(spec, std::move(name), features);
}

}  // namespace fovea::engine::kernels
