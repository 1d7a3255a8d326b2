// Picture files, the one place of the engine tool that knows OpenCV. A library of its own that the
// tool opens when it reads its first picture: OpenCV's codecs pull in over a hundred libraries,
// which cost every start 60 ms and 50 MB.
#include <filesystem>

#include <opencv2/imgcodecs.hpp>

#include "nodes/detector/detection_pipeline.hpp"

namespace {

fovea::Result<fovea::Picture> read(const std::string& path) {
  using fovea::ErrorCode;
  using fovea::fail;
  if (!std::filesystem::exists(path)) return fail(ErrorCode::kNotFound, path + ": no such file");
  try {
    // Boxes are labelled on the pixels as stored.
    const cv::Mat image = cv::imread(path, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    if (image.empty()) return fail(ErrorCode::kCorrupt, path + ": not a picture that OpenCV reads");
    fovea::Picture picture;
    picture.width = static_cast<std::uint32_t>(image.cols);
    picture.height = static_cast<std::uint32_t>(image.rows);
    const std::size_t row = static_cast<std::size_t>(image.cols) * 3;
    for (int y = 0; y < image.rows; ++y) {
      const auto* pixels = reinterpret_cast<const std::byte*>(image.ptr(y));
      picture.bgr.insert(picture.bgr.end(), pixels, pixels + row);
    }
    return picture;
  } catch (const cv::Exception& error) {
    return fail(ErrorCode::kCorrupt, path + ": " + error.err);
  }
}

}  // namespace

// What engine_cli_images.cpp looks up.
extern "C" void fovea_read_picture(const std::string& path,
                                   fovea::Result<fovea::Picture>& picture) {
  picture = read(path);
}
