// What a model says about every pixel, as the decoder hands it on: coarse numbers, borrowed.
#pragma once

#include <cstdint>

namespace fovea {

// f32 [height, width, channels], each cell `stride` network pixels wide and high.
struct DenseMap {
  const float* values = nullptr;
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t channels = 0;
  std::uint32_t stride = 0;
};

}  // namespace fovea
