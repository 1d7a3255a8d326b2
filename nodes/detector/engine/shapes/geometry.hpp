// Arithmetic that shape inference and every provider must do alike: sliding windows, slices,
// resizing and broadcasting. Pure functions of extents and attributes.
#pragma once

#include <array>
#include <span>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// One axis (index 0 = y, 1 = x) of a convolution or pooling window.
struct WindowAxis {
  std::int64_t input = 0;
  std::int64_t output = 0;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t pad_begin = 0;
  std::int64_t pad_end = 0;
};
using Window = std::array<WindowAxis, 2>;

// The window of a Conv, MaxPool or AveragePool over an input of `height` x `width`, with auto_pad
// and ceil_mode resolved. `kernel` is {height, width}.
Result<Window> resolve_window(const Layer& layer, std::int64_t height, std::int64_t width,
                              std::array<std::int64_t, 2> kernel);
// The same for a ConvTranspose: `input` is the small side, `output` the large one.
Result<Window> resolve_transposed_window(const Layer& layer, std::int64_t height,
                                         std::int64_t width, std::array<std::int64_t, 2> kernel);

// -rank..rank-1 to 0..rank-1.
Result<std::size_t> resolve_axis(std::int64_t axis, std::size_t rank);

// One axis of a Slice: elements start, start + step, ... (`count` of them), all inside the axis.
struct SliceAxis {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::int64_t count = 0;
};
// One entry per axis of `dims`. Empty `axes` = the first ones, empty `steps` = 1 each, as in ONNX.
Result<std::vector<SliceAxis>> resolve_slice(const Dims& dims, std::span<const std::int64_t> starts,
                                             std::span<const std::int64_t> ends,
                                             std::span<const std::int64_t> axes,
                                             std::span<const std::int64_t> steps);

// Resize's nearest_mode for what opsets before 11 meant; no ONNX file may say it.
inline constexpr std::string_view kSimpleNearest = "simple";

// What a Resize does, per axis of its input.
struct ResizeGeometry {
  enum class Mode : std::uint8_t { kNearest, kLinear };
  enum class Coordinates : std::uint8_t {
    kAsymmetric,
    kHalfPixel,
    kPytorchHalfPixel,
    kAlignCorners
  };
  // kSimple: down where the axis grows, up where it shrinks, as before opset 11.
  enum class Rounding : std::uint8_t { kFloor, kCeil, kPreferFloor, kPreferCeil, kSimple };

  Mode mode = Mode::kNearest;
  Coordinates coordinates = Coordinates::kHalfPixel;
  Rounding rounding = Rounding::kPreferFloor;
  Dims output;
  std::vector<float> scales;

  // Where output index `index` of `axis` lies in the input, in continuous input indices.
  float source(std::size_t axis, std::int64_t index, std::int64_t input_extent) const;
  // The input index that nearest mode takes for it, clamped to the axis.
  std::int64_t nearest(std::size_t axis, std::int64_t index, std::int64_t input_extent) const;
};
// Exactly one of `scales` and `sizes` must be given (non-empty).
Result<ResizeGeometry> resolve_resize(const Layer& layer, const Dims& input,
                                      std::span<const float> scales,
                                      std::span<const std::int64_t> sizes);

// Where each output index of one axis reads, ready made: kernels then only gather.
struct ResizeTap {
  std::int64_t low = 0;
  std::int64_t high = 0;
  float fraction = 0;  // of `high`
};
std::vector<ResizeTap> resize_taps(const ResizeGeometry& geometry, const Dims& input,
                                   std::size_t axis);

// NumPy's rule: right-aligned, extents equal or 1.
Result<Dims> broadcast_dims(const Dims& a, const Dims& b);

}  // namespace fovea::engine
