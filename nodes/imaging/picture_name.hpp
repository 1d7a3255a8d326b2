// Which files of a folder are taken for pictures: the same for cameras, calibration and labelled
// sets. Header only, since programs without a decoder list folders too.
//
// Thread safety: pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <string>
#include <string_view>

namespace fovea::imaging {

inline constexpr std::array<std::string_view, 13> kPictureExtensions{
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib",
    ".ppm", ".pgm", ".pbm",  ".tif", ".tiff", ".webp"};

inline bool is_picture_name(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kPictureExtensions.begin(), kPictureExtensions.end(), extension) !=
         kPictureExtensions.end();
}

}  // namespace fovea::imaging
