// Which files of a folder are taken for pictures, and in which order: the same for cameras,
// calibration and labelled sets. Header only, since programs without a decoder list folders too.
//
// Thread safety: pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace fovea::imaging {

inline constexpr std::array<std::string_view, 13> kPictureExtensions{
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib",
    ".ppm", ".pgm", ".pbm",  ".tif", ".tiff", ".webp"};

// Of files that are opened as video when they are named; a folder's are left alone.
inline constexpr std::array<std::string_view, 18> kVideoExtensions{
    ".mp4", ".m4v",  ".mov", ".avi", ".mkv", ".webm", ".mpg",  ".mpeg",  ".ts",
    ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".3gp",  ".h264", ".mjpeg", ".mjpg"};

namespace detail {

inline bool has_extension(const std::filesystem::path& path,
                          std::span<const std::string_view> extensions) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

}  // namespace detail

inline bool is_picture_name(const std::filesystem::path& path) {
  return detail::has_extension(path, kPictureExtensions);
}

inline bool is_video_name(const std::filesystem::path& path) {
  return detail::has_extension(path, kVideoExtensions);
}

// Order of people: `frame2.png` before `frame10.png`.
inline bool natural_less(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
      continue;
    }
    const auto number = [&](std::string_view text, std::size_t& at) {
      while (at < text.size() && text[at] == '0') ++at;
      const std::size_t start = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      return text.substr(start, at - start);
    };
    const std::string_view left = number(a, i);
    const std::string_view right = number(b, j);
    if (left.size() != right.size()) return left.size() < right.size();
    if (left != right) return left < right;
  }
  const std::size_t rest_a = a.size() - i;
  const std::size_t rest_b = b.size() - j;
  return rest_a != rest_b ? rest_a < rest_b : a < b;  // `01` and `1` differ by their text
}

}  // namespace fovea::imaging
