// Pooling and resizing of pictures.
#include "nodes/detector/engine/cuda/kernels/device.cuh"

namespace fovea::engine::cuda {

namespace {

// kWidth channels of one output pixel a thread.
template <int kWidth>
__device__ __forceinline__ void pool(const PoolArguments& a) {
  release_dependents();
  wait_for_producers();
  const auto [inside, out_y, out_x, channel, pixel] =
      place_of_thread<kWidth>(a.channels, a.out_height, a.out_width);
  if (!inside) return;
  const void* x = at(a.x, blockIdx.z * a.x_image);
  void* y = at(a.y, blockIdx.z * a.y_image + pixel * a.y_pixel);
  const int from_y = out_y * a.stride_y - a.pad_top;
  const int from_x = out_x * a.stride_x - a.pad_left;
  const int first_y = max(from_y, 0);
  const int first_x = max(from_x, 0);
  const int end_y = min(from_y + a.kernel_height, a.height);
  const int end_x = min(from_x + a.kernel_width, a.width);
  if constexpr (kWidth == 8) {  // of maxima
    __half2 best[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) best[k] = __half2half2(__ushort_as_half(0xFC00));
    for (int in_y = first_y; in_y < end_y; ++in_y) {
      for (int in_x = first_x; in_x < end_x; ++in_x) {
        const uint4 packed = *reinterpret_cast<const uint4*>(
            static_cast<const char*>(x) +
            (static_cast<std::int64_t>(in_y) * a.width + in_x) * a.x_pixel + channel * 2);
        const auto* halves = reinterpret_cast<const __half2*>(&packed);
#pragma unroll
        for (int k = 0; k < 4; ++k) best[k] = __hmax2_nan(best[k], halves[k]);
      }
    }
    *reinterpret_cast<uint4*>(static_cast<char*>(y) + channel * 2) =
        *reinterpret_cast<uint4*>(best);
  } else {
    float best = -INFINITY;
    float sum = 0.0F;
    for (int in_y = first_y; in_y < end_y; ++in_y) {
      for (int in_x = first_x; in_x < end_x; ++in_x) {
        const float value =
            load(at(x, (static_cast<std::int64_t>(in_y) * a.width + in_x) * a.x_pixel), a.scalar,
                 channel);
        best = value > best || value != value ? value : best;
        sum += value;
      }
    }
    const int count = a.count_padding != 0 ? a.kernel_height * a.kernel_width
                                           : (end_y - first_y) * (end_x - first_x);
    store(y, a.scalar, channel, a.average != 0 ? sum / static_cast<float>(count) : best);
  }
}

struct Neighbours {
  int low, high;
  float share;  // of `high`
};
__device__ __forceinline__ Neighbours neighbours(const void* table, int index, int extent) {
  const float position = static_cast<const float*>(table)[index];
  const int low = static_cast<int>(position);
  return {low, min(low + 1, extent - 1), position - static_cast<float>(low)};
}
__device__ __forceinline__ int nearest(const void* table, int whole, int index) {
  return whole > 0 ? index / whole : static_cast<const std::int32_t*>(table)[index];
}

template <int kWidth>
__device__ __forceinline__ void resize(const ResizeArguments& a) {
  release_dependents();
  wait_for_producers();
  const auto [inside, out_y, out_x, channel, pixel] =
      place_of_thread<kWidth>(a.channels, a.out_height, a.out_width);
  if (!inside) return;
  const void* x = at(a.x, blockIdx.z * a.x_image);
  void* y = at(a.y, blockIdx.z * a.y_image + pixel * a.y_pixel);
  if constexpr (kWidth == 8) {  // the nearest
    const int in_y = nearest(a.rows, a.whole, out_y);
    const int in_x = nearest(a.columns, a.whole, out_x);
    *reinterpret_cast<uint4*>(static_cast<char*>(y) + channel * 2) =
        *reinterpret_cast<const uint4*>(
            static_cast<const char*>(x) +
            (static_cast<std::int64_t>(in_y) * a.width + in_x) * a.x_pixel + channel * 2);
  } else {
    const auto pixel_at = [&](int in_y, int in_x) {
      return load(at(x, (static_cast<std::int64_t>(in_y) * a.width + in_x) * a.x_pixel), a.scalar,
                  channel);
    };
    if (a.linear == 0) {
      const int in_y = nearest(a.rows, a.whole, out_y);
      const int in_x = nearest(a.columns, a.whole, out_x);
      store(y, a.scalar, channel, pixel_at(in_y, in_x));
      return;
    }
    const Neighbours v = neighbours(a.rows, out_y, a.height);
    const Neighbours u = neighbours(a.columns, out_x, a.width);
    const float top = pixel_at(v.low, u.low) * (1.0F - u.share) + pixel_at(v.low, u.high) * u.share;
    const float bottom =
        pixel_at(v.high, u.low) * (1.0F - u.share) + pixel_at(v.high, u.high) * u.share;
    store(y, a.scalar, channel, top * (1.0F - v.share) + bottom * v.share);
  }
}

}  // namespace

}  // namespace fovea::engine::cuda

using fovea::engine::cuda::PoolArguments;
using fovea::engine::cuda::ResizeArguments;

extern "C" __global__ void __launch_bounds__(128)
    pool_vectors(const __grid_constant__ PoolArguments a) {
  fovea::engine::cuda::pool<8>(a);
}
extern "C" __global__ void __launch_bounds__(128)
    pool_numbers(const __grid_constant__ PoolArguments a) {
  fovea::engine::cuda::pool<1>(a);
}
extern "C" __global__ void __launch_bounds__(128)
    resize_vectors(const __grid_constant__ ResizeArguments a) {
  fovea::engine::cuda::resize<8>(a);
}
extern "C" __global__ void __launch_bounds__(128)
    resize_numbers(const __grid_constant__ ResizeArguments a) {
  fovea::engine::cuda::resize<1>(a);
}
