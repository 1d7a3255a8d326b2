// A picture for where no camera's is at hand: the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fovea::engine {

// Blocks of colour with some noise, so that deep layers see edges at all scales. `image` is u8
// [height, width, 3].
inline void paint(std::span<std::byte> image, std::size_t width) {
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < image.size(); ++i) {
    state = state * 1664525U + 1013904223U;
    const std::size_t pixel = i / 3;
    const std::size_t tile = pixel % width / 37 + 11 * (pixel / width / 29) + 5 * (i % 3);
    image[i] = static_cast<std::byte>((tile * 67 % 224) + (state >> 27));
  }
}

}  // namespace fovea::engine
