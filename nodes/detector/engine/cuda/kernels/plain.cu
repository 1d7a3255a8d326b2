// Convolutions that the tensor cores do not take: other windows, f32, groups, the camera's bytes.
#include "nodes/detector/engine/cuda/kernels/device.cuh"

namespace fovea::engine::cuda {

namespace {

// One output pixel, kOutputs channels of one group a thread. Weights f32 [group][kh][kw][input
// channel][outputs of the group, padded to kOutputs].
template <int kOutputs, bool kFast>
__device__ __forceinline__ void convolve_plainly(const ConvolutionArguments& a) {
  release_dependents();
  wait_for_producers();
  const std::int64_t pixel = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (pixel >= static_cast<std::int64_t>(a.out_height) * a.out_width) return;
  const int out_y = static_cast<int>(pixel / a.out_width);
  const int out_x = static_cast<int>(pixel % a.out_width);
  const int inputs = a.channels / a.groups;
  const int outputs = a.out_channels / a.groups;
  const int blocks = (outputs + kOutputs - 1) / kOutputs;
  const int group = static_cast<int>(blockIdx.y) / blocks;
  const int first = static_cast<int>(blockIdx.y) % blocks * kOutputs;
  const void* x = at(a.x, blockIdx.z * a.x_image);
  const float* weights = static_cast<const float*>(a.weights) +
                         static_cast<std::int64_t>(group) * a.kernel_height * a.kernel_width *
                             inputs * blocks * kOutputs +
                         first;
  float sums[kOutputs] = {};
  for (int ky = 0; ky < a.kernel_height; ++ky) {
    const int in_y = out_y * a.stride_y - a.pad_top + ky * a.dilation_y;
    for (int kx = 0; kx < a.kernel_width; ++kx) {
      const int in_x = out_x * a.stride_x - a.pad_left + kx * a.dilation_x;
      const float* w = weights + static_cast<std::int64_t>(ky * a.kernel_width + kx) * inputs *
                                     blocks * kOutputs;
      if (in_y < 0 || in_x < 0 || in_y >= a.height || in_x >= a.width) continue;
      const void* from = at(x, (static_cast<std::int64_t>(in_y) * a.width + in_x) * a.x_pixel);
      for (int c = 0; c < inputs; ++c) {
        const float value = load(from, a.x_scalar, group * inputs + c);
#pragma unroll
        for (int k = 0; k < kOutputs; ++k) {
          sums[k] = fmaf(value, __ldg(w + c * blocks * kOutputs + k), sums[k]);
        }
      }
    }
  }
  void* y = at(a.y, blockIdx.z * a.y_image + pixel * a.y_pixel);
  const void* residual = at(a.residual, blockIdx.z * a.residual_image + pixel * a.residual_pixel);
#pragma unroll
  for (int k = 0; k < kOutputs; ++k) {
    if (first + k >= outputs) break;
    const int channel = group * outputs + first + k;
    float value = activate<kFast>(sums[k] + a.bias[channel], a.activation, a.alpha);
    if (a.residual != nullptr) value += load(residual, a.residual_scalar, channel);
    store(y, a.y_scalar, channel, value);
  }
}

// 64 output pixels times 64 output channels a block of 256 threads, 4 x 4 each, one group; weights as
// above with outputs padded to kPlainOutputs.
template <bool kFast>
__device__ __forceinline__ void convolve_tiles(const ConvolutionArguments& a) {
  constexpr int kTile = 64;
  constexpr int kDepth = 16;
  release_dependents();
  wait_for_producers();
  __shared__ __align__(16) float left[kDepth][kTile + 4];
  __shared__ __align__(16) float right[kDepth][kTile + 4];
  const int thread = static_cast<int>(threadIdx.x);
  const int padded = (a.out_channels + 15) / 16 * 16;
  const std::int64_t pixels = static_cast<std::int64_t>(a.out_height) * a.out_width;
  const std::int64_t first_pixel = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const int first_channel = static_cast<int>(blockIdx.y) * kTile;
  const void* x = at(a.x, blockIdx.z * a.x_image);
  // The four pixels whose channel `depth` this thread brings.
  const int depth = thread % kDepth;
  int from_y[4];
  int from_x[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::int64_t pixel = first_pixel + thread / kDepth + i * 16;
    const bool inside = pixel < pixels;
    from_y[i] =
        inside ? static_cast<int>(pixel / a.out_width) * a.stride_y - a.pad_top : -1'000'000;
    from_x[i] = inside ? static_cast<int>(pixel % a.out_width) * a.stride_x - a.pad_left : 0;
  }
  const int thread_m = thread / 16 * 4;
  const int thread_n = thread % 16 * 4;
  float sums[4][4] = {};
  for (int tap = 0; tap < a.kernel_height * a.kernel_width; ++tap) {
    const int offset_y = tap / a.kernel_width * a.dilation_y;
    const int offset_x = tap % a.kernel_width * a.dilation_x;
    for (int c0 = 0; c0 < a.channels; c0 += kDepth) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int in_y = from_y[i] + offset_y;
        const int in_x = from_x[i] + offset_x;
        const bool inside =
            in_y >= 0 && in_x >= 0 && in_y < a.height && in_x < a.width && c0 + depth < a.channels;
        left[depth][thread / kDepth + i * 16] =
            inside ? load(at(x, (static_cast<std::int64_t>(in_y) * a.width + in_x) * a.x_pixel),
                          a.x_scalar, c0 + depth)
                   : 0.0F;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = thread / kTile + i * 4;
        const int k = first_channel + thread % kTile;
        right[c][thread % kTile] =
            c0 + c < a.channels && k < padded
                ? __ldg(static_cast<const float*>(a.weights) +
                        (static_cast<std::int64_t>(tap) * a.channels + c0 + c) * padded + k)
                : 0.0F;
      }
      __syncthreads();
#pragma unroll
      for (int c = 0; c < kDepth; ++c) {
        const float4 m = *reinterpret_cast<const float4*>(&left[c][thread_m]);
        const float4 n = *reinterpret_cast<const float4*>(&right[c][thread_n]);
        const float rows[4] = {m.x, m.y, m.z, m.w};
        const float columns[4] = {n.x, n.y, n.z, n.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(rows[i], columns[j], sums[i][j]);
        }
      }
      __syncthreads();
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::int64_t pixel = first_pixel + thread_m + i;
    if (pixel >= pixels) continue;
    void* y = at(a.y, blockIdx.z * a.y_image + pixel * a.y_pixel);
    const void* residual = at(a.residual, blockIdx.z * a.residual_image + pixel * a.residual_pixel);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int channel = first_channel + thread_n + j;
      if (channel >= a.out_channels) continue;
      float value = activate<kFast>(sums[i][j] + a.bias[channel], a.activation, a.alpha);
      if (a.residual != nullptr) value += load(residual, a.residual_scalar, channel);
      store(y, a.y_scalar, channel, value);
    }
  }
}

// One channel, or eight, of one pixel a thread. Weights f32 [kh][kw][channel].
template <int kWidth, bool kFast>
__device__ __forceinline__ void convolve_depthwise(const ConvolutionArguments& a) {
  release_dependents();
  wait_for_producers();
  const auto [inside, out_y, out_x, channel, pixel] =
      place_of_thread<kWidth>(a.channels, a.out_height, a.out_width);
  if (!inside) return;
  const void* x = at(a.x, blockIdx.z * a.x_image);
  float sums[kWidth];
#pragma unroll
  for (int k = 0; k < kWidth; ++k) sums[k] = a.bias[channel + k];
  for (int ky = 0; ky < a.kernel_height; ++ky) {
    const int in_y = out_y * a.stride_y - a.pad_top + ky * a.dilation_y;
    if (in_y < 0 || in_y >= a.height) continue;
    for (int kx = 0; kx < a.kernel_width; ++kx) {
      const int in_x = out_x * a.stride_x - a.pad_left + kx * a.dilation_x;
      if (in_x < 0 || in_x >= a.width) continue;
      const void* from = at(x, (static_cast<std::int64_t>(in_y) * a.width + in_x) * a.x_pixel);
      const float* w =
          static_cast<const float*>(a.weights) + (ky * a.kernel_width + kx) * a.channels + channel;
      if constexpr (kWidth == 8) {
        const uint4 packed =
            *reinterpret_cast<const uint4*>(static_cast<const char*>(from) + channel * 2);
        const auto* halves = reinterpret_cast<const __half2*>(&packed);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const float2 values = __half22float2(halves[k]);
          sums[2 * k] = fmaf(values.x, __ldg(w + 2 * k), sums[2 * k]);
          sums[2 * k + 1] = fmaf(values.y, __ldg(w + 2 * k + 1), sums[2 * k + 1]);
        }
      } else {
        sums[0] = fmaf(load(from, a.x_scalar, channel), __ldg(w), sums[0]);
      }
    }
  }
  void* y = at(a.y, blockIdx.z * a.y_image + pixel * a.y_pixel);
  const void* residual = at(a.residual, blockIdx.z * a.residual_image + pixel * a.residual_pixel);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    sums[k] = activate<kFast>(sums[k], a.activation, a.alpha);
    if (a.residual != nullptr) sums[k] += load(residual, a.residual_scalar, channel + k);
  }
  if constexpr (kWidth == 8) {
    uint4 packed;
    auto* halves = reinterpret_cast<__half2*>(&packed);
#pragma unroll
    for (int k = 0; k < 4; ++k) halves[k] = __floats2half2_rn(sums[2 * k], sums[2 * k + 1]);
    *reinterpret_cast<uint4*>(static_cast<char*>(y) + channel * 2) = packed;
  } else {
    store(y, a.y_scalar, channel, sums[0]);
  }
}

}  // namespace

}  // namespace fovea::engine::cuda

using fovea::engine::cuda::ConvolutionArguments;

extern "C" __global__ void __launch_bounds__(128)
    plain_exact(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_plainly<16, false>(a);
}
extern "C" __global__ void __launch_bounds__(128)
    plain_fast(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_plainly<16, true>(a);
}
extern "C" __global__ void __launch_bounds__(256)
    tiles_exact(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_tiles<false>(a);
}
extern "C" __global__ void __launch_bounds__(256)
    tiles_fast(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_tiles<true>(a);
}
extern "C" __global__ void __launch_bounds__(128)
    depthwise_exact(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_depthwise<1, false>(a);
}
extern "C" __global__ void __launch_bounds__(128)
    depthwise_fast(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_depthwise<1, true>(a);
}
extern "C" __global__ void __launch_bounds__(128)
    depthwise_vectors(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_depthwise<8, true>(a);
}
