// Picture files for tests, made in memory: by OpenCV, or byte by byte where it cannot make them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

#include "nodes/imaging/picture.hpp"

namespace fovea::imaging {

using File = std::vector<std::byte>;

inline File file_of(std::string_view text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

inline File encode(const std::string& extension, const cv::Mat& image,
                   const std::vector<int>& options = {}) {
  std::vector<unsigned char> bytes;
  cv::Mat fitting = image;
  if (extension == ".pgm" && image.channels() == 3) cv::extractChannel(image, fitting, 1);
  EXPECT_TRUE(cv::imencode(extension, fitting, bytes, options)) << extension;
  const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
  return {first, first + bytes.size()};
}

// Black, with white, blue and red quarters: top left white, top right blue, bottom left red. Every
// orientation looks different.
inline cv::Mat quarters(int width = 48, int height = 32) {
  cv::Mat image(height, width, CV_8UC3, cv::Scalar(0, 0, 0));
  image(cv::Rect(0, 0, width / 2, height / 2)) = cv::Scalar(255, 255, 255);
  image(cv::Rect(width / 2, 0, width - width / 2, height / 2)) = cv::Scalar(255, 0, 0);
  image(cv::Rect(0, height / 2, width / 2, height - height / 2)) = cv::Scalar(0, 0, 255);
  return image;
}

// What a viewer shows of `stored` at an Exif orientation, by OpenCV's own operations.
inline cv::Mat as_shown(const cv::Mat& stored, int orientation) {
  cv::Mat image = stored.clone();
  if (orientation >= 5) cv::transpose(stored, image);
  switch (orientation) {
    case 2:
    case 6:
      cv::flip(image, image, 1);
      break;
    case 3:
    case 7:
      cv::flip(image, image, -1);
      break;
    case 4:
    case 8:
      cv::flip(image, image, 0);
      break;
    default:
      break;
  }
  return image;
}

struct Decoded {
  cv::Mat image;
  std::size_t copied = 0;
};

inline Result<Decoded> decode(const File& file, const PictureOptions& options = {}) {
  FOVEA_ASSIGN(const PictureInfo info, inspect_picture(file, options));
  Decoded decoded;
  decoded.image.create(static_cast<int>(info.height), static_cast<int>(info.width), CV_8UC3);
  FOVEA_ASSIGN(decoded.copied, decode_picture(file, info,
                                              {reinterpret_cast<std::byte*>(decoded.image.data),
                                               info.width, info.height, decoded.image.step},
                                              options));
  return decoded;
}

// The largest difference of any byte; 255 for another size.
inline double difference(const cv::Mat& a, const cv::Mat& b) {
  if (a.size() != b.size() || a.type() != b.type()) return 255;
  return cv::norm(a, b, cv::NORM_INF);
}

// A TIFF structure with one directory entry: the orientation.
inline std::string exif_block(int orientation, bool little_endian) {
  using std::string_literals::operator""s;
  std::string block = little_endian ? "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"s
                                    : "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"s;
  block += static_cast<char>(orientation);
  block.append(little_endian ? 7 : 6, '\0');
  return block;
}

inline File with_jpeg_exif(File jpeg, const std::string& block) {
  using std::string_literals::operator""s;
  const std::size_t length = 2 + 6 + block.size();
  std::string segment = "\xff\xe1"s;
  segment += static_cast<char>(length >> 8);
  segment += static_cast<char>(length & 0xff);
  segment += "Exif\0\0"s + block;
  const File bytes = file_of(segment);
  jpeg.insert(jpeg.begin() + 2, bytes.begin(), bytes.end());
  return jpeg;
}

inline void append_u32(std::string& text, std::uint32_t value, bool little_endian = false) {
  for (int i = 0; i < 4; ++i) {
    text += static_cast<char>(value >> (little_endian ? 8 * i : 24 - 8 * i) & 0xff);
  }
}

inline std::uint32_t crc_of(std::string_view bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320U : 0);
  }
  return ~crc;
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  std::string chunk;
  append_u32(chunk, static_cast<std::uint32_t>(data.size()));
  chunk += type + data;
  append_u32(chunk, crc_of(type + data));
  return chunk;
}

// Behind the header, before the pixels.
inline File with_png_exif(File png, const std::string& block) {
  const File chunk = file_of(png_chunk("eXIf", block));
  png.insert(png.begin() + 33, chunk.begin(), chunk.end());
  return png;
}

// A simple WebP made into an extended one.
inline File with_webp_exif(const File& webp, const std::string& block, int width, int height) {
  using std::string_literals::operator""s;
  std::string body = "WEBPVP8X\x0a\0\0\0\x08\0\0\0"s;
  for (const int side : {width - 1, height - 1}) {
    for (int i = 0; i < 3; ++i) body += static_cast<char>(side >> 8 * i & 0xff);
  }
  for (std::size_t i = 12; i < webp.size(); ++i) body += static_cast<char>(webp[i]);
  body += "EXIF";
  append_u32(body, static_cast<std::uint32_t>(block.size()), true);
  body += block;
  if (block.size() % 2 != 0) body += '\0';
  std::string riff = "RIFF";
  append_u32(riff, static_cast<std::uint32_t>(body.size()), true);
  return file_of(riff + body);
}

struct TiffTag {
  std::uint32_t tag;
  std::uint32_t type;  // 3 SHORT, 4 LONG
  std::uint32_t count;
  std::uint32_t value;
};

// Little-endian, one strip of `pixels`; `tags` in rising order come besides size and strip.
inline File tiff_of(std::uint32_t width, std::uint32_t height, std::uint32_t samples,
                    std::uint32_t bits, std::uint32_t photometric, std::uint32_t orientation,
                    const std::string& pixels, const std::vector<TiffTag>& tags = {}) {
  std::vector<TiffTag> all{{256, 4, 1, width},
                           {257, 4, 1, height},
                           {258, 3, samples, 0},
                           {259, 3, 1, 1},
                           {262, 3, 1, photometric},
                           {273, 4, 1, 0},
                           {274, 3, 1, orientation},
                           {277, 3, 1, samples},
                           {278, 4, 1, height},
                           {279, 4, 1, static_cast<std::uint32_t>(pixels.size())},
                           {284, 3, 1, 1}};
  all.insert(all.end(), tags.begin(), tags.end());
  const auto pixels_at = static_cast<std::uint32_t>(8 + 2 + 12 * all.size() + 4 + 2 * samples);
  std::string file("II*\0\x08\0\0\0", 8);
  const auto append_u16 = [&](std::uint32_t value) {
    file += static_cast<char>(value & 0xff);
    file += static_cast<char>(value >> 8);
  };
  append_u16(static_cast<std::uint32_t>(all.size()));
  for (TiffTag tag : all) {
    if (tag.tag == 258) tag.value = samples <= 2 ? bits | bits << 16 : pixels_at - 2 * samples;
    if (tag.tag == 273) tag.value = pixels_at;
    append_u16(tag.tag);
    append_u16(tag.type);
    append_u32(file, tag.count, true);
    append_u32(file, tag.value, true);
  }
  append_u32(file, 0, true);
  for (std::uint32_t i = 0; i < samples; ++i) append_u16(bits);
  return file_of(file + pixels);
}

inline std::string rgb_bytes(const cv::Mat& image) {
  std::string bytes;
  for (int y = 0; y < image.rows; ++y) {
    for (int x = 0; x < image.cols; ++x) {
      const auto& pixel = image.at<cv::Vec3b>(y, x);
      for (const int c : {2, 1, 0}) bytes += static_cast<char>(pixel[c]);
    }
  }
  return bytes;
}

}  // namespace fovea::imaging
