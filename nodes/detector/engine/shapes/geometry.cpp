// Every formula follows the ONNX operator specification.
#include "nodes/detector/engine/shapes/geometry.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

namespace fovea::engine {

namespace {

// Keeps every sum and product below within 64 bits.
constexpr std::int64_t kMaxWindowValue = 1 << 20;

Result<std::array<std::int64_t, 2>> two_attribute(const Layer& layer, const char* name,
                                                  std::int64_t fallback, std::int64_t least) {
  const auto values = layer.ints_attribute(name, {fallback, fallback});
  if (values.size() != 2) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} is {}; only 2-D windows are supported", name, to_string(values)));
  }
  for (const std::int64_t value : values) {
    if (value < least || value > kMaxWindowValue) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} has {}; it must be {}..{}", name, value, least, kMaxWindowValue));
    }
  }
  return std::array<std::int64_t, 2>{values[0], values[1]};
}

// Everything but pads and output; `height` and `width` become the inputs.
Result<Window> window_base(const Layer& layer, std::int64_t height, std::int64_t width,
                           std::array<std::int64_t, 2> kernel) {
  FOVEA_ASSIGN(const auto strides, two_attribute(layer, "strides", 1, 1));
  FOVEA_ASSIGN(const auto dilations, two_attribute(layer, "dilations", 1, 1));
  Window window;
  for (std::size_t i = 0; i < 2; ++i) {
    if (kernel[i] < 1 || kernel[i] > kMaxWindowValue) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("the kernel has extent {}; it must be 1..{}", kernel[i], kMaxWindowValue));
    }
    window[i].input = i == 0 ? height : width;
    window[i].kernel = kernel[i];
    window[i].stride = strides[i];
    window[i].dilation = dilations[i];
  }
  return window;
}

Result<> read_pads(const Layer& layer, Window& window) {
  const auto pads = layer.ints_attribute("pads", {0, 0, 0, 0});
  if (pads.size() != 4) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pads is {}; it must have 4 entries", to_string(pads)));
  }
  for (const std::int64_t pad : pads) {
    if (pad < 0 || pad > kMaxWindowValue) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("pads has {}; it must be 0..{}", pad, kMaxWindowValue));
    }
  }
  for (std::size_t i = 0; i < 2; ++i) {
    window[i].pad_begin = pads[i];
    window[i].pad_end = pads[i + 2];
  }
  return {};
}

std::int64_t effective_kernel(const WindowAxis& axis) {
  return (axis.kernel - 1) * axis.dilation + 1;
}

}  // namespace

Result<Window> resolve_window(const Layer& layer, std::int64_t height, std::int64_t width,
                              std::array<std::int64_t, 2> kernel) {
  FOVEA_ASSIGN(Window window, window_base(layer, height, width, kernel));
  const std::string auto_pad = layer.string_attribute("auto_pad", "NOTSET");
  const bool ceil_mode = layer.int_attribute("ceil_mode", 0) != 0;
  if (auto_pad == "NOTSET") {
    FOVEA_TRY(read_pads(layer, window));
  } else if (auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER") {
    for (WindowAxis& axis : window) {
      const std::int64_t output = (axis.input + axis.stride - 1) / axis.stride;
      const std::int64_t total = std::max<std::int64_t>(
          0, (output - 1) * axis.stride + effective_kernel(axis) - axis.input);
      const std::int64_t smaller = total / 2;
      axis.pad_begin = auto_pad == "SAME_UPPER" ? smaller : total - smaller;
      axis.pad_end = total - axis.pad_begin;
    }
  } else if (auto_pad != "VALID") {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("auto_pad is '{}'; it must be NOTSET, SAME_UPPER, SAME_LOWER or VALID",
                            auto_pad));
  }
  for (WindowAxis& axis : window) {
    const std::int64_t room = axis.input + axis.pad_begin + axis.pad_end - effective_kernel(axis);
    if (room < 0) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("a window of {} does not fit an input of {} with padding {} and {}",
                              effective_kernel(axis), axis.input, axis.pad_begin, axis.pad_end));
    }
    axis.output = room / axis.stride + 1;
    // A last window that would start in the end padding is left out.
    if (ceil_mode && room % axis.stride != 0 &&
        axis.output * axis.stride < axis.input + axis.pad_begin) {
      ++axis.output;
    }
  }
  return window;
}

Result<Window> resolve_transposed_window(const Layer& layer, std::int64_t height,
                                         std::int64_t width, std::array<std::int64_t, 2> kernel) {
  FOVEA_ASSIGN(Window window, window_base(layer, height, width, kernel));
  const std::string auto_pad = layer.string_attribute("auto_pad", "NOTSET");
  if (auto_pad == "NOTSET") {
    FOVEA_TRY(read_pads(layer, window));
  } else if (auto_pad != "VALID") {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("auto_pad is '{}'; a transposed convolution needs NOTSET or VALID", auto_pad));
  }
  FOVEA_ASSIGN(const auto extra, two_attribute(layer, "output_padding", 0, 0));
  for (std::size_t i = 0; i < 2; ++i) {
    WindowAxis& axis = window[i];
    axis.output = (axis.input - 1) * axis.stride + effective_kernel(axis) + extra[i] -
                  axis.pad_begin - axis.pad_end;
    if (axis.output < 1) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the output's extent would be {}; it must be positive", axis.output));
    }
  }
  return window;
}

Result<std::size_t> resolve_axis(std::int64_t axis, std::size_t rank) {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  if (axis < -signed_rank || axis >= signed_rank) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("axis is {}; it must be {}..{}", axis, -signed_rank, signed_rank - 1));
  }
  return static_cast<std::size_t>(axis < 0 ? axis + signed_rank : axis);
}

Result<std::vector<SliceAxis>> resolve_slice(const Dims& dims, std::span<const std::int64_t> starts,
                                             std::span<const std::int64_t> ends,
                                             std::span<const std::int64_t> axes,
                                             std::span<const std::int64_t> steps) {
  if (starts.size() != ends.size() || starts.size() > dims.size() ||
      (!axes.empty() && axes.size() != starts.size()) ||
      (!steps.empty() && steps.size() != starts.size())) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} starts, {} ends, {} axes and {} steps do not go with {}", starts.size(),
                    ends.size(), axes.size(), steps.size(), to_string(dims)));
  }
  std::vector<SliceAxis> slice;
  slice.reserve(dims.size());
  for (const std::int64_t extent : dims) slice.push_back({0, 1, extent});
  for (std::size_t i = 0; i < starts.size(); ++i) {
    FOVEA_ASSIGN(const std::size_t axis,
                 resolve_axis(axes.empty() ? static_cast<std::int64_t>(i) : axes[i], dims.size()));
    const std::int64_t extent = dims[axis];
    const std::int64_t step = steps.empty() ? 1 : steps[i];
    if (step == 0) return fail(ErrorCode::kInvalidArgument, "a step is 0; it must not be");
    // Bounds are often INT64_MAX or INT64_MIN for "to the end": clamp before adding the extent. A
    // step longer than the axis takes one element, like one of its length.
    const auto clamp_bound = [&](std::int64_t bound, std::int64_t low, std::int64_t high) {
      bound = std::clamp(bound, -extent - 1, extent + 1);
      return std::clamp(bound < 0 ? bound + extent : bound, low, high);
    };
    SliceAxis& out = slice[axis];
    out.step = std::clamp(step, -extent - 1, extent + 1);
    if (step > 0) {
      out.start = clamp_bound(starts[i], 0, extent);
      const std::int64_t end = clamp_bound(ends[i], 0, extent);
      out.count = end > out.start ? (end - out.start + out.step - 1) / out.step : 0;
    } else {
      out.start = clamp_bound(starts[i], -1, extent - 1);
      const std::int64_t end = clamp_bound(ends[i], -1, extent - 1);
      out.count = out.start > end ? (out.start - end - out.step - 1) / -out.step : 0;
    }
  }
  return slice;
}

float ResizeGeometry::source(std::size_t axis, std::int64_t index,
                             std::int64_t input_extent) const {
  const float scale = scales[axis];
  const auto x = static_cast<float>(index);
  switch (coordinates) {
    case Coordinates::kAsymmetric:
      return x / scale;
    case Coordinates::kHalfPixel:
      return (x + 0.5F) / scale - 0.5F;
    case Coordinates::kPytorchHalfPixel:
      return output[axis] > 1 ? (x + 0.5F) / scale - 0.5F : 0.0F;
    case Coordinates::kAlignCorners:
      return output[axis] > 1
                 ? x * static_cast<float>(input_extent - 1) / static_cast<float>(output[axis] - 1)
                 : 0.0F;
  }
  return x;
}

std::int64_t ResizeGeometry::nearest(std::size_t axis, std::int64_t index,
                                     std::int64_t input_extent) const {
  const float x = source(axis, index, input_extent);
  float rounded = 0;
  switch (rounding) {
    case Rounding::kFloor:
      rounded = std::floor(x);
      break;
    case Rounding::kCeil:
      rounded = std::ceil(x);
      break;
    case Rounding::kSimple:
      rounded = scales[axis] < 1 ? std::ceil(x) : std::floor(x);
      break;
    case Rounding::kPreferFloor:
      rounded = std::ceil(x - 0.5F);
      break;
    case Rounding::kPreferCeil:
      rounded = std::floor(x + 0.5F);
      break;
  }
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(rounded), 0, input_extent - 1);
}

Result<ResizeGeometry> resolve_resize(const Layer& layer, const Dims& input,
                                      std::span<const float> scales,
                                      std::span<const std::int64_t> sizes) {
  ResizeGeometry geometry;
  const std::string mode = layer.string_attribute("mode", "nearest");
  if (mode == "linear") {
    geometry.mode = ResizeGeometry::Mode::kLinear;
  } else if (mode != "nearest") {
    return fail(ErrorCode::kUnsupported,
                fmt::format("mode is '{}'; it must be nearest or linear", mode));
  }
  const std::string coordinates =
      layer.string_attribute("coordinate_transformation_mode", "half_pixel");
  if (coordinates == "asymmetric") {
    geometry.coordinates = ResizeGeometry::Coordinates::kAsymmetric;
  } else if (coordinates == "pytorch_half_pixel") {
    geometry.coordinates = ResizeGeometry::Coordinates::kPytorchHalfPixel;
  } else if (coordinates == "align_corners") {
    geometry.coordinates = ResizeGeometry::Coordinates::kAlignCorners;
  } else if (coordinates != "half_pixel") {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("coordinate_transformation_mode is '{}'; it must be asymmetric, half_pixel, "
                    "pytorch_half_pixel or align_corners",
                    coordinates));
  }
  const std::string rounding = layer.string_attribute("nearest_mode", "round_prefer_floor");
  if (rounding == "floor") {
    geometry.rounding = ResizeGeometry::Rounding::kFloor;
  } else if (rounding == "ceil") {
    geometry.rounding = ResizeGeometry::Rounding::kCeil;
  } else if (rounding == "round_prefer_ceil") {
    geometry.rounding = ResizeGeometry::Rounding::kPreferCeil;
  } else if (rounding == kSimpleNearest) {
    geometry.rounding = ResizeGeometry::Rounding::kSimple;
  } else if (rounding != "round_prefer_floor") {
    return fail(ErrorCode::kUnsupported,
                fmt::format("nearest_mode is '{}'; it must be floor, ceil, round_prefer_floor or "
                            "round_prefer_ceil",
                            rounding));
  }

  if (scales.empty() == sizes.empty()) {
    return fail(ErrorCode::kInvalidArgument, "exactly one of scales and sizes must be given");
  }
  std::vector<std::int64_t> axes = layer.ints_attribute("axes", {});
  if (axes.empty()) {
    for (std::size_t i = 0; i < input.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  const std::size_t given = scales.empty() ? sizes.size() : scales.size();
  if (given != axes.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} scales or sizes are given for {} axes", given, axes.size()));
  }
  geometry.output = input;
  geometry.scales.assign(input.size(), 1.0F);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    FOVEA_ASSIGN(const std::size_t axis, resolve_axis(axes[i], input.size()));
    if (input[axis] < 1) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the input {} is empty", to_string(input)));
    }
    if (!sizes.empty()) {
      if (sizes[i] < 1 || sizes[i] > kMaxElements) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("sizes has {}; it must be 1..{}", sizes[i], kMaxElements));
      }
      geometry.output[axis] = sizes[i];
      geometry.scales[axis] = static_cast<float>(sizes[i]) / static_cast<float>(input[axis]);
    } else {
      const double extent =
          std::floor(static_cast<double>(input[axis]) * static_cast<double>(scales[i]));
      if (!(scales[i] > 0) || !(extent >= 1) || extent > static_cast<double>(kMaxElements)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("scales has {}, which makes no valid extent from {}", scales[i],
                                input[axis]));
      }
      geometry.output[axis] = static_cast<std::int64_t>(extent);
      geometry.scales[axis] = scales[i];
    }
  }
  if (geometry.mode == ResizeGeometry::Mode::kLinear) {
    for (std::size_t axis = 0; axis < input.size(); ++axis) {
      if (input.size() != 4 || (axis < 2 && geometry.output[axis] != input[axis])) {
        return fail(
            ErrorCode::kUnsupported,
            fmt::format("linear mode changes {} to {}; only the last two of four axes may change",
                        to_string(input), to_string(geometry.output)));
      }
    }
  }
  return geometry;
}

Result<Dims> broadcast_dims(const Dims& a, const Dims& b) {
  const Dims& longer = a.size() >= b.size() ? a : b;
  const Dims& shorter = a.size() >= b.size() ? b : a;
  Dims out = longer;
  const std::size_t offset = longer.size() - shorter.size();
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    std::int64_t& extent = out[offset + i];
    if (extent == 1) {
      extent = shorter[i];
    } else if (shorter[i] != 1 && shorter[i] != extent) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("shapes {} and {} do not broadcast", to_string(a), to_string(b)));
    }
  }
  return out;
}

std::vector<ResizeTap> resize_taps(const ResizeGeometry& geometry, const Dims& input,
                                   std::size_t axis) {
  std::vector<ResizeTap> taps;
  for (std::int64_t i = 0; i < geometry.output[axis]; ++i) {
    if (geometry.mode == ResizeGeometry::Mode::kNearest) {
      const std::int64_t index = geometry.nearest(axis, i, input[axis]);
      taps.push_back({index, index, 0});
    } else {
      const float last = static_cast<float>(input[axis] - 1);
      const float at = std::clamp(geometry.source(axis, i, input[axis]), 0.0F, last);
      const auto low = static_cast<std::int64_t>(at);
      taps.push_back({low, std::min(low + 1, input[axis] - 1), at - static_cast<float>(low)});
    }
  }
  return taps;
}

}  // namespace fovea::engine
