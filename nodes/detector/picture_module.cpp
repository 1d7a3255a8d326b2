// Picture files, the one place of the engine tool that knows OpenCV. A library of its own that the
// tool opens when it reads its first picture: OpenCV's codecs pull in over a hundred libraries,
// which cost every start 60 ms and 50 MB.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <opencv2/imgcodecs.hpp>

#include "nodes/detector/detection_pipeline.hpp"

namespace {

// A JPEG without its end marker: OpenCV reads what there is and paints the rest grey. What cameras
// and editors append is short against the window that is searched.
bool is_truncated_jpeg(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(2, '\0');
  if (!file.read(bytes.data(), 2) || bytes != "\xff\xd8") return false;
  constexpr std::streamoff kWindow = 1 << 16;
  file.seekg(0, std::ios::end);
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(size - kWindow, 0));
  bytes.resize(static_cast<std::size_t>(std::min(size, kWindow)));
  return file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) &&
         bytes.find("\xff\xd9") == std::string::npos;
}

fovea::Result<fovea::Picture> read(const std::string& path) {
  using fovea::ErrorCode;
  using fovea::fail;
  if (!std::filesystem::exists(path)) return fail(ErrorCode::kNotFound, path + ": no such file");
  if (is_truncated_jpeg(path)) {
    return fail(ErrorCode::kCorrupt, path + ": the JPEG ends before its picture does");
  }
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
