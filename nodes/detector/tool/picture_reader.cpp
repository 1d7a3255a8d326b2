#include "nodes/detector/tool/picture_reader.hpp"

#include <cstddef>

#include "nodes/base/text.hpp"
#include "nodes/imaging/picture.hpp"

namespace fovea {

Result<Picture> read_picture(const std::string& path, std::uint64_t max_pixels) {
  FOVEA_ASSIGN(const auto file, imaging::read_picture_file(path));
  const auto info = imaging::inspect_picture(file, {.max_pixels = max_pixels});
  if (!info) return fail(info.error().with_context(one_line(path)));
  Picture picture{info->width, info->height, {}};
  const std::size_t step = std::size_t{3} * info->width;
  picture.bgr.resize(step * info->height);
  if (const auto decoded = imaging::decode_picture(
          file, *info, {picture.bgr.data(), info->width, info->height, step});
      !decoded) {
    return fail(decoded.error().with_context(one_line(path)));
  }
  return picture;
}

}  // namespace fovea
