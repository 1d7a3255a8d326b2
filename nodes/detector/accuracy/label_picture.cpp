#include "nodes/detector/accuracy/label_picture.hpp"

#include <fmt/core.h>

namespace fovea {

Result<LabelPicture> read_label_picture(const std::string& path, std::size_t classes,
                                        const PictureReader& reader) {
  FOVEA_ASSIGN(const Picture picture, reader(path));
  LabelPicture labels{picture.width, picture.height};
  labels.labels.resize(std::size_t{picture.width} * picture.height);
  for (std::size_t i = 0; i < labels.labels.size(); ++i) {
    const std::byte* bgr = picture.bgr.data() + 3 * i;
    const auto label = std::to_integer<std::uint8_t>(bgr[0]);
    const std::size_t x = i % picture.width;
    const std::size_t y = i / picture.width;
    if (bgr[1] != bgr[0] || bgr[2] != bgr[0]) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: the pixel ({}, {}) has a colour; labels are a gray picture of "
                              "class numbers",
                              path, x, y));
    }
    if (label >= classes && label != LabelPicture::kNoClass) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: the pixel ({}, {}) is of class {}; it must be 0..{}, or 255 for "
                              "none",
                              path, x, y, label, classes - 1));
    }
    labels.labels[i] = label;
  }
  return labels;
}

}  // namespace fovea
