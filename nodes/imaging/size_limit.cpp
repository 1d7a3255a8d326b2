#include "nodes/imaging/size_limit.hpp"

#include <fmt/core.h>

namespace fovea::imaging {

Result<> check_pixels(std::uint32_t width, std::uint32_t height, std::uint64_t max_pixels) {
  const std::uint64_t pixels = std::uint64_t{width} * height;
  if (pixels <= max_pixels) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("is {}x{}, {:.1f} megapixels; max_pixels is {}, {:.1f} megapixels", width,
                          height, static_cast<double>(pixels) / 1e6, max_pixels,
                          static_cast<double>(max_pixels) / 1e6));
}

}  // namespace fovea::imaging
