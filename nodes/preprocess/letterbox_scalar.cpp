// The readable kernels: what the vectorised ones are tested against, and the path for any CPU.
#include "nodes/preprocess/letterbox_kernels.hpp"

namespace fovea::letterbox_kernels {
namespace {

void blend_rows(const std::uint8_t* upper, const std::uint8_t* lower, int weight_upper,
                int weight_lower, std::size_t count, std::int16_t* blended) {
  for (std::size_t i = 0; i < count; ++i) {
    blended[i] = static_cast<std::int16_t>((upper[i] * weight_upper >> kBlendShift) +
                                           (lower[i] * weight_lower >> kBlendShift));
  }
}

std::uint8_t mix(int left, int right, const ColumnTap& tap) {
  const int sum = left * tap.weight_left + right * tap.weight_right;
  return static_cast<std::uint8_t>((sum + (1 << (kResampleShift - 1))) >> kResampleShift);
}

void resample_row(const std::int16_t* blended, const ColumnTap* taps, std::size_t count,
                  Order order, std::uint8_t* rgb) {
  for (std::size_t x = 0; x < count; ++x) {
    const ColumnTap& tap = taps[x];
    const std::int16_t* source = blended + tap.offset;
    std::uint8_t* pixel = rgb + 3 * x;
    if (order == Order::kMono) {
      pixel[0] = pixel[1] = pixel[2] = mix(source[0], source[1], tap);
    } else {
      const int red = order == Order::kRgb ? 0 : 2;
      pixel[0] = mix(source[red], source[red + 3], tap);
      pixel[1] = mix(source[1], source[4], tap);
      pixel[2] = mix(source[2 - red], source[5 - red], tap);
    }
  }
}

void convert_row(const std::uint8_t* source, std::size_t count, Order order, std::uint8_t* rgb) {
  for (std::size_t x = 0; x < count; ++x) {
    std::uint8_t* pixel = rgb + 3 * x;
    if (order == Order::kMono) {
      pixel[0] = pixel[1] = pixel[2] = source[x];
    } else {
      const std::size_t red = order == Order::kRgb ? 0 : 2;
      pixel[0] = source[3 * x + red];
      pixel[1] = source[3 * x + 1];
      pixel[2] = source[3 * x + 2 - red];
    }
  }
}

}  // namespace

const Kernels& scalar_kernels() {
  static constexpr Kernels kKernels{blend_rows, resample_row, convert_row};
  return kKernels;
}

}  // namespace fovea::letterbox_kernels
