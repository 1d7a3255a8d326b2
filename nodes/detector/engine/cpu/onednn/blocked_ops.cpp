// Memory-bound loops: one pass each, innermost over a block, split over threads by block or row.
#include "nodes/detector/engine/cpu/onednn/blocked_ops.hpp"

#include <algorithm>
#include <cstring>

namespace fovea::engine::cpu::onednn {

namespace {

// A copy of one pixel's block with a size known to the compiler: one or two vector moves.
inline void copy_block(float* to, const float* from, std::int64_t block) {
  if (block == 16) {
    std::memcpy(to, from, 16 * sizeof(float));
  } else {
    std::memcpy(to, from, 8 * sizeof(float));
  }
}

}  // namespace

void image_to_planar(const std::uint8_t* image, float* planar, std::int64_t pixels) {
  constexpr std::int64_t kChunk = 4096;
  const std::int64_t chunks = (pixels + kChunk - 1) / kChunk;
#pragma omp parallel for schedule(static)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t first = chunk * kChunk;
    const std::int64_t count = std::min(kChunk, pixels - first);
    const std::uint8_t* from = image + 3 * first;
    float* red = planar + first;
    float* green = red + pixels;
    float* blue = green + pixels;
    for (std::int64_t i = 0; i < count; ++i) {
      red[i] = from[3 * i];
      green[i] = from[3 * i + 1];
      blue[i] = from[3 * i + 2];
    }
  }
}

void planar_to_blocked(const float* planar, float* blocked, std::span<const std::int32_t> logical,
                       std::int64_t pixels, std::int64_t block) {
  const auto channels = static_cast<std::int64_t>(logical.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t first = 0; first < channels; first += block) {
    float* to = blocked + first * pixels;
    for (std::int64_t lane = 0; lane < block; ++lane) {
      const std::int32_t channel = logical[static_cast<std::size_t>(first + lane)];
      const float* from = channel < 0 ? nullptr : planar + channel * pixels;
      for (std::int64_t i = 0; i < pixels; ++i)
        to[i * block + lane] = from != nullptr ? from[i] : 0.0F;
    }
  }
}

void blocked_to_planar(const float* blocked, float* planar, std::span<const std::int32_t> logical,
                       std::int64_t pixels, std::int64_t block) {
  const auto channels = static_cast<std::int64_t>(logical.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t physical = 0; physical < channels; ++physical) {
    const std::int32_t channel = logical[static_cast<std::size_t>(physical)];
    if (channel < 0) continue;
    const float* from = blocked + (physical / block * pixels) * block + physical % block;
    float* to = planar + channel * pixels;
    for (std::int64_t i = 0; i < pixels; ++i) to[i] = from[i * block];
  }
}

void blocked_to_interleaved(const float* blocked, float* interleaved,
                            std::span<const std::int32_t> logical, std::int64_t pixels,
                            std::int64_t block, std::int64_t channels) {
  const auto physical = static_cast<std::int64_t>(logical.size());
  for (std::int64_t first = 0; first < physical; first += block) {
    const float* from = blocked + first * pixels;
    const auto lanes =
        logical.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(block));
    const bool whole = lanes.front() >= 0 && lanes.back() == lanes.front() + block - 1;
    if (whole) {  // layouts rise within a block, so this is a run of consecutive channels
      float* to = interleaved + lanes.front();
#pragma omp parallel for schedule(static)
      for (std::int64_t i = 0; i < pixels; ++i)
        copy_block(to + i * channels, from + i * block, block);
      continue;
    }
    for (std::int64_t lane = 0; lane < block; ++lane) {
      const std::int32_t channel = lanes[static_cast<std::size_t>(lane)];
      if (channel < 0) continue;
      for (std::int64_t i = 0; i < pixels; ++i)
        interleaved[i * channels + channel] = from[i * block + lane];
    }
  }
}

void planar_to_interleaved(const float* planar, float* interleaved, std::int64_t pixels,
                           std::int64_t channels) {
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const float* from = planar + channel * pixels;
    for (std::int64_t i = 0; i < pixels; ++i) interleaved[i * channels + channel] = from[i];
  }
}

void gather_channels(const float* from, float* to, std::span<const std::int32_t> source,
                     std::int64_t pixels, std::int64_t block) {
  const auto channels = static_cast<std::int64_t>(source.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t first = 0; first < channels; first += block) {
    const auto lanes =
        source.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(block));
    float* target = to + first * pixels;
    bool whole = lanes.front() >= 0 && lanes.front() % block == 0;
    for (std::size_t lane = 0; lane < lanes.size() && whole; ++lane) {
      whole = lanes[lane] == lanes.front() + static_cast<std::int32_t>(lane);
    }
    if (whole) {
      std::memcpy(target, from + lanes.front() * pixels,
                  static_cast<std::size_t>(pixels * block) * sizeof(float));
      continue;
    }
    for (std::int64_t lane = 0; lane < block; ++lane) {
      const std::int32_t channel = lanes[static_cast<std::size_t>(lane)];
      const float* lane_from =
          channel < 0 ? nullptr : from + (channel / block * pixels) * block + channel % block;
      for (std::int64_t i = 0; i < pixels; ++i) {
        target[i * block + lane] = lane_from != nullptr ? lane_from[i * block] : 0.0F;
      }
    }
  }
}

void resize_nearest(const float* from, float* to, std::int64_t blocks, std::int64_t block,
                    std::int64_t in_height, std::int64_t in_width,
                    std::span<const std::int32_t> rows, std::span<const std::int32_t> columns) {
  const auto height = static_cast<std::int64_t>(rows.size());
  const auto width = static_cast<std::int64_t>(columns.size());
#pragma omp parallel for collapse(2) schedule(static)
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t y = 0; y < height; ++y) {
      const float* row =
          from + (b * in_height + rows[static_cast<std::size_t>(y)]) * in_width * block;
      float* target = to + (b * height + y) * width * block;
      for (std::int64_t x = 0; x < width; ++x) {
        copy_block(target + x * block, row + columns[static_cast<std::size_t>(x)] * block, block);
      }
    }
  }
}

void add(const float* a, const float* b, float* to, std::int64_t count) {
#pragma omp parallel for simd schedule(static)
  for (std::int64_t i = 0; i < count; ++i) to[i] = a[i] + b[i];
}

}  // namespace fovea::engine::cpu::onednn
