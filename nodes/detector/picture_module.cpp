// Picture files, the one place of the engine tool that knows OpenCV. A library of its own that the
// tool opens when it reads its first picture: OpenCV's codecs pull in over a hundred libraries,
// which cost every start 60 ms and 50 MB.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ios>
#include <limits>
#include <string>

#include <opencv2/imgcodecs.hpp>

#include "nodes/detector/detection_pipeline.hpp"

namespace {

// A JPEG without its end marker: OpenCV reads what there is and paints the rest grey. Segments are
// stepped over, for a thumbnail in one has an end marker of its own, and nothing behind the
// picture's is read: phones append whole videos.
bool is_truncated_jpeg(const std::string& path) {
  constexpr int kStartOfImage = 0xd8;
  constexpr int kEndOfImage = 0xd9;
  std::ifstream file(path, std::ios::binary);
  if (file.get() != 0xff || file.get() != kStartOfImage) return false;
  while (file) {
    file.ignore(std::numeric_limits<std::streamsize>::max(), 0xff);
    int marker = file.get();
    while (marker == 0xff) marker = file.get();
    if (marker == kEndOfImage) return false;
    // 0xff 0x00 is picture data that looks like a marker; 0xd0 to 0xd7 divide picture data.
    const bool has_segment = marker > 0x01 && (marker < 0xd0 || marker > kStartOfImage);
    if (!has_segment) continue;
    const int high = file.get();
    const int low = file.get();
    file.ignore(std::max(high * 256 + low - 2, 0));
  }
  return true;
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
