// A camera frame. Field names follow sensor_msgs/Image.
#pragma once

#include "msgs/header.hpp"
#include "nodes/base/pixel_rows.hpp"

namespace fovea::msgs {

using fovea::Encoding;

template <>
struct EnumNames<Encoding> {
  static constexpr auto kNames = kEncodingNames;
};

// Channels (= bytes) per pixel of those that lie pixel by pixel in bytes of a colour each; 0 for all
// others, whose rows are as bytes_per_row() says.
constexpr std::uint32_t channels(Encoding encoding) {
  switch (encoding) {
    case Encoding::kBgr8:
    case Encoding::kRgb8:
      return 3;
    case Encoding::kMono8:
      return 1;
    default:
      return 0;
  }
}

// Pixels: rows_of_bytes(encoding, height) rows at `data`, `step` bytes apart.
struct Image {
  Header header;
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t step = 0;
  Encoding encoding = Encoding::kBgr8;
  BufferRef data;
};

template <>
struct Fields<Image> {
  static constexpr std::string_view kName = "Image";
  static constexpr auto kList =
      std::tuple(field("header", &Image::header), field("height", &Image::height, "px"),
                 field("width", &Image::width, "px"), field("step", &Image::step, "bytes"),
                 field("encoding", &Image::encoding), field("data", &Image::data));
};

}  // namespace fovea::msgs
