#include "nodes/detector/engine/cpu/kernels/kernel.hpp"

#include <cmath>

#include <fmt/core.h>

namespace fovea::engine::kernels {

Result<> check_surface(std::string_view what, const Surface& surface, std::int64_t channels) {
  const bool known = surface.type == DataType::kFloat32 || surface.type == DataType::kFloat16 ||
                     surface.type == DataType::kBfloat16 || surface.type == DataType::kUint8;
  if (!known)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}.type must be f32, f16, bf16 or u8", what));
  if (surface.pixel_stride < channels) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}.pixel_stride is {}; it must be at least {} channels", what,
                            surface.pixel_stride, channels));
  }
  const Grid& grid = surface.grid;
  if (surface.type == DataType::kUint8 && (!std::isnormal(grid.scale) || grid.scale < 0 ||
                                           grid.zero_point < 0 || grid.zero_point > 255)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}.grid is (scale {}, zero point {}); the scale must be positive and the zero "
                    "point 0..255",
                    what, grid.scale, grid.zero_point));
  }
  return {};
}

}  // namespace fovea::engine::kernels
