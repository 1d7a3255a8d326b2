// A grey picture that tells where something was drawn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nodes/imaging/drawing.hpp"

namespace fovea::imaging {

constexpr Colour kGreen{0, 255, 0};

struct Canvas {
  Canvas(std::uint32_t w, std::uint32_t h, std::size_t gap = 0)
      : width(w), height(h), step(3 * std::size_t{w} + gap), bytes(step * h, std::byte{90}) {}

  ImageTarget target() { return {bytes.data(), width, height, step}; }
  Colour at(std::uint32_t x, std::uint32_t y) const {
    const std::byte* pixel = bytes.data() + y * step + std::size_t{3} * x;
    return {std::to_integer<std::uint8_t>(pixel[2]), std::to_integer<std::uint8_t>(pixel[1]),
            std::to_integer<std::uint8_t>(pixel[0])};
  }
  bool is_untouched(std::uint32_t x, std::uint32_t y) const {
    return at(x, y) == Colour{90, 90, 90};
  }
  std::size_t touched() const {
    std::size_t count = 0;
    for (std::uint32_t y = 0; y < height; ++y) {
      for (std::uint32_t x = 0; x < width; ++x) count += is_untouched(x, y) ? 0 : 1;
    }
    return count;
  }

  // The bytes between rows.
  bool gaps_are_untouched() const {
    for (std::size_t row = 0; row < height; ++row) {
      for (std::size_t i = std::size_t{3} * width; i < step; ++i) {
        if (bytes[row * step + i] != std::byte{90}) return false;
      }
    }
    return true;
  }

  std::uint32_t width, height;
  std::size_t step;
  std::vector<std::byte> bytes;
};

}  // namespace fovea::imaging
