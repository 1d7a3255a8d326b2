// The readable convolution: any types, layout, groups and dilation, on any CPU. The oracle of all
// others.
#include <algorithm>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"
#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"

namespace fovea::engine::kernels {
namespace {

class ScalarConvolution final : public Kernel {
 public:
  explicit ScalarConvolution(const ConvolutionSpec& spec)
      : spec_(spec),
        weights_(spec.weights.begin(), spec.weights.end()),
        s8_weights_(spec.s8_weights.begin(), spec.s8_weights.end()),
        folded_(fold(spec)),
        finisher_(spec, scalar_rows()) {
    for (float& weight : weights_) weight = rounded_to(spec_.compute, weight);
    spec_.weights = {};
    spec_.s8_weights = {};
    spec_.weight_scales = {};
    spec_.bias = {};
  }

  std::string_view implementation() const override { return "scalar"; }

  // One output pixel's results and the taps that they are made of, per thread.
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads) * (pixel_bytes() + window_bytes());
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    pool.parallel_for(spec_.out_height, [&](std::int64_t y, int worker) {
      std::byte* strip =
          arguments.scratch + static_cast<std::size_t>(worker) * (pixel_bytes() + window_bytes());
      std::byte* window = strip + pixel_bytes();
      for (std::int64_t x = 0; x < spec_.out_width; ++x) {
        gather(arguments.sources[0], y, x, window);
        for (std::int64_t c = 0; c < spec_.out_channels; ++c) {
          const float value = spec_.compute == DataType::kUint8
                                  ? integer_result(reinterpret_cast<std::uint8_t*>(window), c)
                                  : float_result(reinterpret_cast<float*>(window), c);
          if (finisher_.uses_table()) {
            reinterpret_cast<std::int8_t*>(strip)[c] =
                static_cast<std::int8_t>(std::nearbyint(std::clamp(value, -128.0F, 127.0F)));
          } else {
            reinterpret_cast<float*>(strip)[c] = value;
          }
        }
        finisher_.finish(arguments, strip, spec_.out_channels, y, x, 1, 0, spec_.out_channels);
      }
    });
  }

 private:
  static std::size_t lines(std::int64_t elements) {
    return (static_cast<std::size_t>(elements) * sizeof(float) + 63) / 64 * 64;
  }
  std::size_t pixel_bytes() const { return lines(spec_.out_channels); }
  std::size_t window_bytes() const {
    return lines(spec_.in_channels * spec_.kernel_height * spec_.kernel_width);
  }
  // Of one output channel.
  std::int64_t taps() const {
    return spec_.in_channels / spec_.groups * spec_.kernel_height * spec_.kernel_width;
  }

  // The taps of one output pixel in the order of the weights: codes, or floats that were converted
  // once for all output channels.
  void gather(const void* source, std::int64_t y, std::int64_t x, std::byte* window) const {
    const Grid& grid = spec_.source.grid;
    if (spec_.compute == DataType::kUint8) {
      const auto* codes = static_cast<const std::uint8_t*>(source);
      gather_taps(y, x, static_cast<std::uint8_t>(grid.zero_point),
                  reinterpret_cast<std::uint8_t*>(window),
                  [&](std::int64_t element) { return codes[element]; });
      return;
    }
    const bool exact =
        spec_.compute == DataType::kBfloat16 && spec_.source.type == DataType::kUint8;
    const DataType pixels = exact ? DataType::kFloat32 : spec_.compute;
    gather_taps(y, x, 0.0F, reinterpret_cast<float*>(window), [&](std::int64_t element) {
      return rounded_to(pixels, load_element(source, spec_.source.type, grid, element));
    });
  }

  // `outside` stands for what is beyond an unpadded picture.
  template <class Element, class Load>
  void gather_taps(std::int64_t y, std::int64_t x, Element outside, Element* window,
                   Load load) const {
    for (std::int64_t c = 0; c < spec_.in_channels; ++c) {
      for (std::int64_t ky = 0; ky < spec_.kernel_height; ++ky) {
        const std::int64_t row =
            y * spec_.stride_height - spec_.pad_top + ky * spec_.dilation_height;
        for (std::int64_t kx = 0; kx < spec_.kernel_width; ++kx) {
          const std::int64_t column =
              x * spec_.stride_width - spec_.pad_left + kx * spec_.dilation_width;
          const bool inside =
              row >= 0 && row < spec_.in_height && column >= 0 && column < spec_.in_width;
          const std::int64_t element =
              row * spec_.source.row_stride + column * spec_.source.pixel_stride + c;
          *window++ = inside || spec_.physically_padded ? load(element) : outside;
        }
      }
    }
  }

  // Where the taps of a channel's group begin.
  std::int64_t first_tap(std::int64_t channel) const {
    return channel / (spec_.out_channels / spec_.groups) * taps();
  }

  float integer_result(const std::uint8_t* window, std::int64_t channel) const {
    const auto c = static_cast<std::size_t>(channel);
    const std::uint8_t* codes = window + first_tap(channel);
    const std::int8_t* weights = s8_weights_.data() + channel * taps();
    std::int32_t sum = folded_.start[c];
    for (std::int64_t i = 0; i < taps(); ++i) sum += weights[i] * codes[i];
    return std::fma(static_cast<float>(sum), folded_.scale[c], folded_.bias[c]);
  }

  // Sums in double precision: other implementations add in other orders, this one is close to the
  // true value.
  float float_result(const float* window, std::int64_t channel) const {
    const float* values = window + first_tap(channel);
    const float* weights = weights_.data() + channel * taps();
    double sum = folded_.bias[static_cast<std::size_t>(channel)];
    for (std::int64_t i = 0; i < taps(); ++i) {
      sum += static_cast<double>(weights[i]) * static_cast<double>(values[i]);
    }
    return static_cast<float>(sum);
  }

  ConvolutionSpec spec_;  // without its spans
  std::vector<float> weights_;
  std::vector<std::int8_t> s8_weights_;
  Folded folded_;
  Finisher finisher_;
};

}  // namespace

std::unique_ptr<const Kernel> make_scalar_convolution(const ConvolutionSpec& spec) {
  return std::make_unique<ScalarConvolution>(spec);
}

}  // namespace fovea::engine::kernels
