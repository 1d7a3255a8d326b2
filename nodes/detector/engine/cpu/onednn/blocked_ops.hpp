// The data movement around the convolutions, on one item in blocked layout [C / block][H *
// W][block]. Plain functions of pointers and extents; they use the OpenMP threads of the caller and
// allocate nothing.
#pragma once

#include <cstdint>
#include <span>

namespace fovea::engine::cpu::onednn {

// u8 [pixels, 3] -> f32 [3, pixels].
void image_to_planar(const std::uint8_t* image, float* planar, std::int64_t pixels);

// f32 [channels, pixels] -> blocked, channel layout `logical` (-1 = zeros).
void planar_to_blocked(const float* planar, float* blocked, std::span<const std::int32_t> logical,
                       std::int64_t pixels, std::int64_t block);
void blocked_to_planar(const float* blocked, float* planar, std::span<const std::int32_t> logical,
                       std::int64_t pixels, std::int64_t block);
// blocked -> f32 [pixels, channels].
void blocked_to_interleaved(const float* blocked, float* interleaved,
                            std::span<const std::int32_t> logical, std::int64_t pixels,
                            std::int64_t block, std::int64_t channels);
// f32 [channels, pixels] -> f32 [pixels, channels].
void planar_to_interleaved(const float* planar, float* interleaved, std::int64_t pixels,
                           std::int64_t channels);

// Physical channel i of `to` = physical channel source[i] of `from`, zero where source[i] is -1.
void gather_channels(const float* from, float* to, std::span<const std::int32_t> source,
                     std::int64_t pixels, std::int64_t block);

// Nearest-neighbour resize: output row y = input row rows[y], column x likewise; all blocks.
void resize_nearest(const float* from, float* to, std::int64_t blocks, std::int64_t block,
                    std::int64_t in_height, std::int64_t in_width,
                    std::span<const std::int32_t> rows, std::span<const std::int32_t> columns);

// to = a + b, `count` elements.
void add(const float* a, const float* b, float* to, std::int64_t count);

}  // namespace fovea::engine::cpu::onednn
