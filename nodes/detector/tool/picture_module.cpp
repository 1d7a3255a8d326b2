// Picture files, the one place of the engine tool that knows OpenCV. A library of its own that the
// tool opens when it reads its first picture: OpenCV's codecs pull in over a hundred libraries,
// which cost every start 60 ms and 50 MB.
#include <cstdint>
#include <string>

#include "nodes/base/text.hpp"
#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/imaging/picture.hpp"

namespace {

fovea::Result<fovea::Picture> read(const std::string& path, std::uint64_t max_pixels) {
  using fovea::fail;
  FOVEA_ASSIGN(const auto file, fovea::imaging::read_picture_file(path));
  const auto info = fovea::imaging::inspect_picture(file, {.max_pixels = max_pixels});
  if (!info) return fail(info.error().with_context(fovea::one_line(path)));
  fovea::Picture picture{info->width, info->height, {}};
  const std::size_t step = std::size_t{3} * info->width;
  picture.bgr.resize(step * info->height);
  if (const auto decoded = fovea::imaging::decode_picture(
          file, *info, {picture.bgr.data(), info->width, info->height, step});
      !decoded) {
    return fail(decoded.error().with_context(fovea::one_line(path)));
  }
  return picture;
}

}  // namespace

// What engine_cli_images.cpp looks up.
extern "C" void fovea_read_picture(const std::string& path, std::uint64_t max_pixels,
                                   fovea::Result<fovea::Picture>& picture) {
  picture = read(path, max_pixels);
}
