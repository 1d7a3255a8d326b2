#include "nodes/preprocess/colour_rows.hpp"

namespace fovea {

void ColourRows::reserve(std::uint32_t width) {
  const std::size_t bytes = std::size_t{width} * 3 * numbers_.size();
  if (rows_.size() < bytes) rows_.resize(bytes);
}

void ColourRows::begin(const ImageView& source) {
  source_ = source;
  reserve(source.width);
  numbers_ = {-1, -1};
  oldest_ = 0;
}

const std::uint8_t* ColourRows::row(std::uint32_t y) {
  const std::size_t bytes = std::size_t{source_.width} * 3;
  for (std::size_t i = 0; i < numbers_.size(); ++i) {
    if (numbers_[i] != y) continue;
    oldest_ = 1 - i;  // the other one is given up next
    return rows_.data() + i * bytes;
  }
  const std::size_t i = oldest_;
  convert(y, rows_.data() + i * bytes);
  numbers_[i] = y;
  oldest_ = 1 - i;
  return rows_.data() + i * bytes;
}

void ColourRows::convert(std::uint32_t y, std::uint8_t* rgb) const {
  const auto* pixels = reinterpret_cast<const std::uint8_t*>(source_.pixels.data());
  const std::uint8_t* row = pixels + std::size_t{y} * source_.step;
  const std::uint8_t* chroma =
      pixels + (std::size_t{source_.height} + y / 2) * source_.step;  // of kNv12
  if (source_.encoding != msgs::Encoding::kNv12) chroma = nullptr;
  if (needs_even_width(source_.encoding) && !force_scalar_) {
    colour_kernels::best_convert_yuv()(source_.encoding, row, chroma, source_.width, rgb);
  } else {
    convert_pixels(source_.encoding, row, chroma, source_.width, ChannelOrder::kRgb, rgb);
  }
}

}  // namespace fovea
