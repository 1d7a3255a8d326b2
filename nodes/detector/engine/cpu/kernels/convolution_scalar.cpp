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
    if (spec_.compute == DataType::kFloat16) {
      for (float& weight : weights_) weight = half_to_float(float_to_half(weight));
    }
    spec_.weights = {};
    spec_.s8_weights = {};
    spec_.weight_scales = {};
    spec_.bias = {};
  }

  std::string_view implementation() const override { return "scalar"; }

  // One output pixel's results per thread.
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads) * pixel_bytes();
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    pool.parallel_for(spec_.out_height, [&](std::int64_t y, int worker) {
      std::byte* strip = arguments.scratch + static_cast<std::size_t>(worker) * pixel_bytes();
      for (std::int64_t x = 0; x < spec_.out_width; ++x) {
        for (std::int64_t c = 0; c < spec_.out_channels; ++c) {
          const float value = spec_.compute == DataType::kUint8
                                  ? integer_result(arguments.sources[0], y, x, c)
                                  : float_result(arguments.sources[0], y, x, c);
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
  std::size_t pixel_bytes() const {
    return (static_cast<std::size_t>(spec_.out_channels) * sizeof(float) + 63) / 64 * 64;
  }

  // visit(weight index, source element index) for every tap; the element is -1 outside an unpadded
  // picture.
  template <class Visit>
  void for_each_tap(std::int64_t y, std::int64_t x, std::int64_t channel, Visit visit) const {
    const std::int64_t group_channels = spec_.in_channels / spec_.groups;
    const std::int64_t first = channel / (spec_.out_channels / spec_.groups) * group_channels;
    std::int64_t weight = channel * group_channels * spec_.kernel_height * spec_.kernel_width;
    for (std::int64_t c = first; c < first + group_channels; ++c) {
      for (std::int64_t ky = 0; ky < spec_.kernel_height; ++ky) {
        for (std::int64_t kx = 0; kx < spec_.kernel_width; ++kx, ++weight) {
          const std::int64_t row =
              y * spec_.stride_height - spec_.pad_top + ky * spec_.dilation_height;
          const std::int64_t column =
              x * spec_.stride_width - spec_.pad_left + kx * spec_.dilation_width;
          const bool inside =
              row >= 0 && row < spec_.in_height && column >= 0 && column < spec_.in_width;
          const std::int64_t element =
              row * spec_.source.row_stride + column * spec_.source.pixel_stride + c;
          visit(static_cast<std::size_t>(weight), element, inside || spec_.physically_padded);
        }
      }
    }
  }

  float integer_result(const void* source, std::int64_t y, std::int64_t x,
                       std::int64_t channel) const {
    const auto c = static_cast<std::size_t>(channel);
    const auto* pixels = static_cast<const std::uint8_t*>(source);
    std::int32_t sum = folded_.start[c];
    for_each_tap(y, x, channel, [&](std::size_t weight, std::int64_t element, bool exists) {
      sum += s8_weights_[weight] * (exists ? pixels[element] : spec_.source.grid.zero_point);
    });
    return std::fma(static_cast<float>(sum), folded_.scale[c], folded_.bias[c]);
  }

  // Sums in double precision: other implementations add in other orders, this one is close to the
  // true value.
  float float_result(const void* source, std::int64_t y, std::int64_t x,
                     std::int64_t channel) const {
    double sum = folded_.bias[static_cast<std::size_t>(channel)];
    for_each_tap(y, x, channel, [&](std::size_t weight, std::int64_t element, bool exists) {
      if (!exists) return;
      float value = load_element(source, spec_.source.type, spec_.source.grid, element);
      if (spec_.compute == DataType::kFloat16) value = half_to_float(float_to_half(value));
      sum += static_cast<double>(weights_[weight]) * static_cast<double>(value);
    });
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
