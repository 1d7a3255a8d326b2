// What all kernels share: reading and writing either precision, activations, waiting for the kernel
// before.
#pragma once

#include <cuda_fp16.h>

#include "nodes/detector/engine/cuda/kernels/arguments.hpp"

namespace fovea::engine::cuda {

// With programmatic dependent launch a kernel starts before its predecessor ends: nothing that the
// predecessor writes may be read before wait_for_producers(). Without it both do nothing.
__device__ __forceinline__ void release_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ __forceinline__ void wait_for_producers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ float load(const void* data, Scalar scalar, std::int64_t index) {
  if (scalar == Scalar::kHalf) return __half2float(static_cast<const __half*>(data)[index]);
  if (scalar == Scalar::kFloat) return static_cast<const float*>(data)[index];
  return static_cast<const unsigned char*>(data)[index];
}
__device__ __forceinline__ void store(void* data, Scalar scalar, std::int64_t index, float value) {
  if (scalar == Scalar::kHalf) {
    static_cast<__half*>(data)[index] = __float2half_rn(value);
  } else {
    static_cast<float*>(data)[index] = value;
  }
}

template <class T>
__device__ __forceinline__ T* at(T* data, std::int64_t bytes) {
  return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(data) + bytes);
}

// What a thread works on where each has some channels of one output pixel.
struct OutputPlace {
  bool inside;
  int y, x;
  int channel;          // the first one
  std::int64_t pixel;   // y * width + x
};
template <int kChannels>
__device__ __forceinline__ OutputPlace place_of_thread(int channels, int height, int width) {
  const int wide = channels / kChannels;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t pixel = index / wide;
  return {pixel < static_cast<std::int64_t>(height) * width, static_cast<int>(pixel / width),
          static_cast<int>(pixel % width), static_cast<int>(index % wide) * kChannels, pixel};
}

// For f32: correctly rounded division and exponential.
__device__ __forceinline__ float exact_sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }
// For f16: its error, 2^-11, is that of the result's type.
__device__ __forceinline__ float fast_sigmoid(float x) {
  float tanh;
  asm("tanh.approx.f32 %0, %1;" : "=f"(tanh) : "f"(0.5F * x));
  return fmaf(0.5F, tanh, 0.5F);
}

template <bool kFast>
__device__ __forceinline__ float activate(float x, Epilogue activation, float alpha) {
  switch (activation) {
    case Epilogue::kSilu:
      return x * (kFast ? fast_sigmoid(x) : exact_sigmoid(x));
    case Epilogue::kRelu:
      return x < 0.0F ? 0.0F : x;
    case Epilogue::kLeakyRelu:
      return x < 0.0F ? alpha * x : x;
    case Epilogue::kSigmoid:
      return kFast ? fast_sigmoid(x) : exact_sigmoid(x);
    case Epilogue::kHardSwish:
      return x * fminf(fmaxf(x + 3.0F, 0.0F), 6.0F) / 6.0F;
    default:
      return x;
  }
}

}  // namespace fovea::engine::cuda
