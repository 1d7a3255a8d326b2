// Tensors on their way into and out of the detector.
#pragma once

#include "msgs/header.hpp"

namespace fovea::msgs {

enum class DataType : std::uint32_t { kUint8, kInt8, kFloat16, kFloat32 };

template <>
struct EnumNames<DataType> {
  static constexpr std::array kNames{std::string_view("uint8"), std::string_view("int8"),
                                     std::string_view("float16"), std::string_view("float32")};
};

constexpr std::uint32_t element_size(DataType dtype) {
  switch (dtype) {
    case DataType::kUint8:
    case DataType::kInt8:
      return 1;
    case DataType::kFloat16:
      return 2;
    case DataType::kFloat32:
      return 4;
  }
  return 0;
}

// How a source image was placed into the network's input: the source is scaled to new_width x
// new_height and put at (pad_left, pad_top); what is larger than the input loses its margins. The exact scales are the quotients of the two sizes
// per axis, because the scaled size is rounded to whole pixels; pixel centres lie at +0.5:
//   network_x = source_x * new_width / source_width + pad_left - crop_left
// in continuous coordinates, edges at integers.
struct LetterboxTransform {
  std::uint32_t source_width = 0;
  std::uint32_t source_height = 0;
  std::uint32_t network_width = 0;
  std::uint32_t network_height = 0;
  std::uint32_t new_width = 0;
  std::uint32_t new_height = 0;
  std::uint32_t pad_left = 0;
  std::uint32_t pad_top = 0;
  std::uint32_t crop_left = 0;  // of the scaled image's columns, so many left ones are cut off
  std::uint32_t crop_top = 0;

  bool operator==(const LetterboxTransform&) const = default;

  constexpr float source_x(float network_x) const {
    return (network_x + static_cast<float>(crop_left) - static_cast<float>(pad_left)) *
           static_cast<float>(source_width) / static_cast<float>(new_width);
  }
  constexpr float source_y(float network_y) const {
    return (network_y + static_cast<float>(crop_top) - static_cast<float>(pad_top)) *
           static_cast<float>(source_height) / static_cast<float>(new_height);
  }
  static constexpr std::uint32_t kMaxSide = 32768;  // of the source, in pixels

  // All sizes positive, the source's bounded, and along each axis the scaled image lies in the network's input or covers
  // it; check before trusting a peer.
  constexpr bool valid() const {
    const auto fits = [](std::uint32_t pad, std::uint32_t crop, std::uint32_t size,
                         std::uint32_t network) {
      if (size == 0 || network == 0) return false;
      if (size <= network) return crop == 0 && pad <= network - size;
      return pad == 0 && crop <= size - network;
    };
    return source_width > 0 && source_width <= kMaxSide && source_height > 0 &&
           source_height <= kMaxSide && fits(pad_left, crop_left, new_width, network_width) &&
           fits(pad_top, crop_top, new_height, network_height);
  }
};

// Preprocess output: one image, u8, dims [height, width, 3], RGB.
struct Tensor {
  Header header;
  DataType dtype = DataType::kUint8;
  std::uint32_t rank = 0;
  std::array<std::int64_t, 6> dims{};
  LetterboxTransform letterbox;
  BufferRef data;
};

// One tensor inside the slot of a TensorArray.
struct TensorView {
  FixedString<32> name;
  DataType dtype = DataType::kFloat32;
  std::uint32_t rank = 0;
  std::array<std::int64_t, 6> dims{};
  std::uint64_t offset = 0;  // from the start of the slot
  std::uint64_t bytes = 0;

  bool operator==(const TensorView&) const = default;
};

// Detector output for one frame: the raw maps of the detect head, or `output0`, in one slot.
// ModelInfo (same model_id) says what the maps mean.
struct TensorArray {
  static constexpr std::size_t kMaxTensors = 16;

  Header header;
  std::uint64_t model_id = 0;
  LetterboxTransform letterbox;
  BufferRef data;
  BoundedArray<TensorView, kMaxTensors> tensors;
};

template <>
struct Fields<LetterboxTransform> {
  using T = LetterboxTransform;
  static constexpr std::string_view kName = "LetterboxTransform";
  static constexpr auto kList =
      std::tuple(field("source_width", &T::source_width, "px"),
                 field("source_height", &T::source_height, "px"),
                 field("network_width", &T::network_width, "px"),
                 field("network_height", &T::network_height, "px"),
                 field("new_width", &T::new_width, "px"), field("new_height", &T::new_height, "px"),
                 field("pad_left", &T::pad_left, "px"), field("pad_top", &T::pad_top, "px"),
                 field("crop_left", &T::crop_left, "px"), field("crop_top", &T::crop_top, "px"));
};

template <>
struct Fields<Tensor> {
  static constexpr std::string_view kName = "Tensor";
  static constexpr auto kList =
      std::tuple(field("header", &Tensor::header), field("dtype", &Tensor::dtype),
                 field("rank", &Tensor::rank), field("dims", &Tensor::dims),
                 field("letterbox", &Tensor::letterbox), field("data", &Tensor::data));
};

template <>
struct Fields<TensorView> {
  static constexpr std::string_view kName = "TensorView";
  static constexpr auto kList = std::tuple(
      field("name", &TensorView::name), field("dtype", &TensorView::dtype),
      field("rank", &TensorView::rank), field("dims", &TensorView::dims),
      field("offset", &TensorView::offset, "bytes"), field("bytes", &TensorView::bytes, "bytes"));
};

template <>
struct Fields<TensorArray> {
  static constexpr std::string_view kName = "TensorArray";
  static constexpr auto kList =
      std::tuple(field("header", &TensorArray::header), field("model_id", &TensorArray::model_id),
                 field("letterbox", &TensorArray::letterbox), field("data", &TensorArray::data),
                 field("tensors", &TensorArray::tensors));
};

}  // namespace fovea::msgs
