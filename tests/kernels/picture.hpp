// A picture in memory of its own, as the kernels see it: any strides, a physical border, poison
// everywhere else. The allocation ends with the last element that a kernel may touch, so that a
// sanitizer sees one byte too many.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/movement.hpp"
#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"

namespace fovea::kernel_test {

using engine::DataType;
using engine::kernels::Border;
using engine::kernels::Grid;
using engine::kernels::Surface;

class Picture {
 public:
  // `gap`: elements between the channels of one pixel and those of the next, before and after.
  Picture(DataType type, std::int64_t height, std::int64_t width, std::int64_t channels,
          Border border = {}, std::int64_t gap = 0, Grid grid = {})
      : height_(height), width_(width), channels_(channels), border_(border) {
    surface_.type = type;
    surface_.grid = grid;
    surface_.pixel_stride = channels + 2 * gap;
    surface_.row_stride = (width + border.left + border.right) * surface_.pixel_stride;
    const std::int64_t rows = height + border.top + border.bottom;
    first_ = border.top * surface_.row_stride + border.left * surface_.pixel_stride + gap;
    bytes_.resize(static_cast<std::size_t>((rows * surface_.row_stride - gap) * element()));
    poison();
  }

  const Surface& surface() const { return surface_; }
  std::byte* data() { return bytes_.data() + first_ * element(); }
  std::vector<std::byte>& bytes() { return bytes_; }

  // NaN in f32 and f16.
  void poison() { std::memset(bytes_.data(), 0xff, bytes_.size()); }

  // Values of N(0, 1) in floats, uniform codes in u8; the border as kernels expect it.
  void randomise(std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::uniform_int_distribution<int> code(0, 255);
    for_each([&](std::int64_t at) {
      if (surface_.type == DataType::kUint8) {
        data()[at] = static_cast<std::byte>(code(random));
      } else {
        engine::kernels::store_element(data(), surface_.type, surface_.grid, at, normal(random));
      }
    });
    engine::kernels::fill_border(data(), surface_, height_, width_, channels_, border_);
  }

  float value(std::int64_t at) {
    return engine::kernels::load_element(data(), surface_.type, surface_.grid, at);
  }

  // visit(element index from data()) for every channel of every pixel.
  template <class Visit>
  void for_each(Visit visit) {
    for (std::int64_t y = 0; y < height_; ++y) {
      for (std::int64_t x = 0; x < width_; ++x) {
        for (std::int64_t c = 0; c < channels_; ++c) {
          visit(y * surface_.row_stride + x * surface_.pixel_stride + c);
        }
      }
    }
  }

 private:
  std::int64_t element() const { return engine::kernels::element_bytes(surface_.type); }

  std::int64_t height_;
  std::int64_t width_;
  std::int64_t channels_;
  Border border_;
  Surface surface_;
  std::int64_t first_ = 0;
  std::vector<std::byte> bytes_;
};

}  // namespace fovea::kernel_test
