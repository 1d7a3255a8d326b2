// Operators that slide a window over an image: convolutions, pooling, resizing.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "nodes/detector/engine/reference/operators.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::reference {

namespace {

// Output indices o of one axis whose input index o * stride - pad_begin + tap * dilation is inside.
struct Reach {
  std::int64_t first = 0;
  std::int64_t last = 0;    // one past
  std::int64_t source = 0;  // input index of `first`
};

Reach reach_of(const WindowAxis& axis, std::int64_t tap) {
  const std::int64_t shift = tap * axis.dilation - axis.pad_begin;
  Reach reach;
  reach.first = shift >= 0 ? 0 : (-shift + axis.stride - 1) / axis.stride;
  const std::int64_t room = axis.input - 1 - shift;
  reach.last = room < 0 ? 0 : std::min(axis.output, room / axis.stride + 1);
  reach.source = reach.first * axis.stride + shift;
  return reach;
}

// out[i] += weight * in[i * stride]
void multiply_add(float* __restrict out, const float* __restrict in, float weight,
                  std::int64_t count, std::int64_t stride) {
  if (stride == 1) {
    for (std::int64_t i = 0; i < count; ++i) out[i] += weight * in[i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] += weight * in[i * stride];
  }
}

// One element of a kernel plane and what it reaches.
struct KernelTap {
  std::int64_t weight = 0;  // index in the plane
  Reach y, x;
};

std::vector<KernelTap> taps_of(const Window& window) {
  const auto& [wy, wx] = window;
  std::vector<KernelTap> taps;
  for (std::int64_t ky = 0; ky < wy.kernel; ++ky) {
    for (std::int64_t kx = 0; kx < wx.kernel; ++kx) {
      const KernelTap tap{ky * wx.kernel + kx, reach_of(wy, ky), reach_of(wx, kx)};
      if (tap.y.first < tap.y.last && tap.x.first < tap.x.last) taps.push_back(tap);
    }
  }
  return taps;
}

// Adds one input plane, seen through one kernel plane, to one output plane.
void convolve_plane(const Window& window, const std::vector<KernelTap>& taps, const float* in,
                    const float* weights, float* out) {
  const auto& [wy, wx] = window;
  for (const auto& [weight, ry, rx] : taps) {
    for (std::int64_t oy = ry.first; oy < ry.last; ++oy) {
      const std::int64_t iy = ry.source + (oy - ry.first) * wy.stride;
      multiply_add(out + oy * wx.output + rx.first, in + iy * wx.input + rx.source, weights[weight],
                   rx.last - rx.first, wx.stride);
    }
  }
}

}  // namespace

Result<Kernel> prepare_convolution(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* w = operands.inputs[1];
  const Tensor* bias = operands.input(2);
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(Window window,
               resolve_window(*operands.layer, x->dims[2], x->dims[3], {w->dims[2], w->dims[3]}));
  const std::int64_t in_plane = x->dims[2] * x->dims[3];
  const std::int64_t out_plane = y->dims[2] * y->dims[3];
  const std::int64_t kernel_plane = w->dims[2] * w->dims[3];
  const std::int64_t out_per_group = y->dims[1] / operands.layer->int_attribute("group", 1);
  // A plain 1x1 convolution does not care about rows: one long row is quicker.
  if (kernel_plane == 1 && in_plane == out_plane && window[0].stride == 1 &&
      window[1].stride == 1 && window[0].pad_begin == 0 && window[1].pad_begin == 0) {
    window = {WindowAxis{1, 1}, WindowAxis{in_plane, out_plane}};
  }
  return Kernel([=, taps = taps_of(window)]() -> Result<> {
    const std::int64_t in_per_group = w->dims[1];
    for (std::int64_t n = 0; n < y->dims[0]; ++n) {
      for (std::int64_t oc = 0; oc < y->dims[1]; ++oc) {
        float* out = y->data<float>() + (n * y->dims[1] + oc) * out_plane;
        std::fill_n(out, out_plane, bias != nullptr ? bias->data<float>()[oc] : 0.0F);
        for (std::int64_t i = 0; i < in_per_group; ++i) {
          const std::int64_t ic = oc / out_per_group * in_per_group + i;
          convolve_plane(window, taps, x->data<float>() + (n * x->dims[1] + ic) * in_plane,
                         w->data<float>() + (oc * in_per_group + i) * kernel_plane, out);
        }
      }
    }
    return {};
  });
}

Result<Kernel> prepare_transposed_convolution(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* w = operands.inputs[1];
  const Tensor* bias = operands.input(2);
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(
      const Window window,
      resolve_transposed_window(*operands.layer, x->dims[2], x->dims[3], {w->dims[2], w->dims[3]}));
  const std::int64_t group = operands.layer->int_attribute("group", 1);
  return Kernel([=]() -> Result<> {
    const auto& [wy, wx] = window;
    const std::int64_t out_plane = wy.output * wx.output;
    const std::int64_t in_per_group = x->dims[1] / group;
    const std::int64_t out_per_group = w->dims[1];
    for (std::int64_t i = 0; i < y->dims[0] * y->dims[1]; ++i) {
      std::fill_n(y->data<float>() + i * out_plane, out_plane,
                  bias != nullptr ? bias->data<float>()[i % y->dims[1]] : 0.0F);
    }
    for (std::int64_t i = 0; i < x->dims[0] * x->dims[1] * out_per_group; ++i) {
      const std::int64_t o = i % out_per_group;
      const std::int64_t ic = i / out_per_group % x->dims[1];
      const std::int64_t n = i / out_per_group / x->dims[1];
      const std::int64_t oc = ic / in_per_group * out_per_group + o;
      const float* in = x->data<float>() + (n * x->dims[1] + ic) * wy.input * wx.input;
      const float* weights = w->data<float>() + (ic * out_per_group + o) * wy.kernel * wx.kernel;
      float* out = y->data<float>() + (n * y->dims[1] + oc) * out_plane;
      for (std::int64_t iy = 0; iy < wy.input; ++iy) {
        for (std::int64_t ix = 0; ix < wx.input; ++ix) {
          for (std::int64_t ky = 0; ky < wy.kernel; ++ky) {
            const std::int64_t oy = iy * wy.stride - wy.pad_begin + ky * wy.dilation;
            if (oy < 0 || oy >= wy.output) continue;
            for (std::int64_t kx = 0; kx < wx.kernel; ++kx) {
              const std::int64_t ox = ix * wx.stride - wx.pad_begin + kx * wx.dilation;
              if (ox < 0 || ox >= wx.output) continue;
              out[oy * wx.output + ox] += in[iy * wx.input + ix] * weights[ky * wx.kernel + kx];
            }
          }
        }
      }
    }
    return {};
  });
}

Result<Kernel> prepare_pool(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const auto kernel = operands.layer->ints_attribute("kernel_shape", {});
  FOVEA_ASSIGN(const Window window,
               resolve_window(*operands.layer, x->dims[2], x->dims[3], {kernel[0], kernel[1]}));
  const bool average = operands.layer->op == OpType::kAveragePool;
  const bool count_padding = operands.layer->int_attribute("count_include_pad", 0) != 0;
  return Kernel([=]() -> Result<> {
    const auto& [wy, wx] = window;
    for (std::int64_t plane = 0; plane < x->dims[0] * x->dims[1]; ++plane) {
      const float* in = x->data<float>() + plane * wy.input * wx.input;
      float* out = y->data<float>() + plane * wy.output * wx.output;
      for (std::int64_t oy = 0; oy < wy.output; ++oy) {
        for (std::int64_t ox = 0; ox < wx.output; ++ox) {
          float sum = 0;
          float largest = -std::numeric_limits<float>::infinity();
          std::int64_t count = 0;
          for (std::int64_t ky = 0; ky < wy.kernel; ++ky) {
            const std::int64_t iy = oy * wy.stride - wy.pad_begin + ky * wy.dilation;
            for (std::int64_t kx = 0; kx < wx.kernel; ++kx) {
              const std::int64_t ix = ox * wx.stride - wx.pad_begin + kx * wx.dilation;
              if (iy >= 0 && iy < wy.input && ix >= 0 && ix < wx.input) {
                sum += in[iy * wx.input + ix];
                largest = std::max(largest, in[iy * wx.input + ix]);
                ++count;
              } else if (count_padding && iy < wy.input + wy.pad_end &&
                         ix < wx.input + wx.pad_end) {
                ++count;
              }
            }
          }
          out[oy * wx.output + ox] = average ? sum / static_cast<float>(count) : largest;
        }
      }
    }
    return {};
  });
}

Result<Kernel> prepare_global_pool(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const std::int64_t plane = x->dims[2] * x->dims[3];
  return Kernel([=]() -> Result<> {
    for (std::int64_t i = 0; i < y->size(); ++i) {
      double sum = 0;
      for (std::int64_t p = 0; p < plane; ++p)
        sum += static_cast<double>(x->data<float>()[i * plane + p]);
      y->data<float>()[i] = static_cast<float>(sum / static_cast<double>(plane));
    }
    return {};
  });
}

Result<Kernel> prepare_resize(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const Tensor* scales = operands.input(2);
  const Tensor* sizes = operands.input(3);
  std::span<const float> scale_values;
  std::span<const std::int64_t> size_values;
  if (scales != nullptr)
    scale_values = {scales->data<float>(), static_cast<std::size_t>(scales->size())};
  if (sizes != nullptr) {
    size_values = {sizes->data<std::int64_t>(), static_cast<std::size_t>(sizes->size())};
  }
  FOVEA_ASSIGN(const ResizeGeometry geometry,
               resolve_resize(*operands.layer, x->dims, scale_values, size_values));
  if (x->dims.size() != 4) return fail(ErrorCode::kUnsupported, "Resize needs four axes");
  std::array<std::vector<ResizeTap>, 4> taps;
  for (std::size_t axis = 0; axis < 4; ++axis) taps[axis] = resize_taps(geometry, x->dims, axis);
  return Kernel([=]() -> Result<> {
    float* out = y->data<float>();
    for (const ResizeTap& n : taps[0]) {
      for (const ResizeTap& c : taps[1]) {
        const float* plane =
            x->data<float>() + (n.low * x->dims[1] + c.low) * x->dims[2] * x->dims[3];
        for (const ResizeTap& v : taps[2]) {
          const float* top = plane + v.low * x->dims[3];
          const float* bottom = plane + v.high * x->dims[3];
          for (const ResizeTap& h : taps[3]) {
            const float above = top[h.low] + (top[h.high] - top[h.low]) * h.fraction;
            const float below = bottom[h.low] + (bottom[h.high] - bottom[h.low]) * h.fraction;
            *out++ = above + (below - above) * v.fraction;
          }
        }
      }
    }
    return {};
  });
}

}  // namespace fovea::engine::reference
