// A camera frame. Field names follow sensor_msgs/Image.
#pragma once

#include "msgs/header.hpp"

namespace fovea::msgs {

enum class Encoding : std::uint32_t { kBgr8, kRgb8, kMono8 };

template <>
struct EnumNames<Encoding> {
  static constexpr std::array kNames{std::string_view("bgr8"), std::string_view("rgb8"),
                                     std::string_view("mono8")};
};

// Channels (= bytes) per pixel; 0 for a value that is no encoding.
constexpr std::uint32_t channels(Encoding encoding) {
  switch (encoding) {
    case Encoding::kBgr8:
    case Encoding::kRgb8:
      return 3;
    case Encoding::kMono8:
      return 1;
  }
  return 0;
}

// Pixels: [height, width, channels(encoding)] u8 at `data`, rows `step` bytes apart.
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
