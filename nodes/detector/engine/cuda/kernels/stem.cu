// The first convolution, on the camera's bytes: stride 2, three channels, by the tensor cores.
//
// The bytes under a tile become f16 pixels of four channels in shared memory, so that 16 numbers in a
// row are four pixels: a row of the window is one step of the product, or two. Weights are scaled to
// f16's best range, and the sums scaled back in f32. [block of 16 outputs][window row][step][lane][4
// words], zeros where a step goes beyond the window.
#include "nodes/detector/engine/cuda/kernels/device.cuh"
#include "nodes/detector/engine/cuda/kernels/tensor_cores.cuh"

namespace fovea::engine::cuda {

namespace {

template <int kKernel, int kTileHeight, int kTileWidth, int kWarps, int kRows>
__device__ __forceinline__ void convolve_bytes(const ConvolutionArguments& a) {
  constexpr int kThreads = 32 * kWarps;
  constexpr int kPixels = kTileHeight * kTileWidth;
  constexpr int kSteps = (kKernel * 4 + 15) / 16;  // of a row of the window
  constexpr int kHaloHeight = (kTileHeight - 1) * 2 + kKernel;
  constexpr int kHaloWidth = (kTileWidth - 1) * 2 + kSteps * 4;
  constexpr int kRowBytes = kHaloWidth * 8;
  static_assert(kPixels == 16 * kWarps * kRows);
  constexpr int kRawWords = (kHaloWidth * 3 + 3 + 3) / 4;
  __shared__ __align__(128) char shared[kHaloHeight * kRowBytes];
  __shared__ unsigned raw[kHaloHeight * kRawWords];
  __shared__ __align__(16) char staged[kPixels * 32];
  const auto base = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread & 31;
  const int warp = thread >> 5;
  const int tile_x = static_cast<int>(blockIdx.x) % a.tiles_x * kTileWidth;
  const int tile_y = static_cast<int>(blockIdx.x) / a.tiles_x * kTileHeight;
  const auto* x = static_cast<const unsigned char*>(a.x) + blockIdx.z * a.x_image;
  char* y = static_cast<char*>(a.y) + blockIdx.z * a.y_image;
  release_dependents();
  wait_for_producers();
  // Whole words, whatever the tile's bytes begin in the middle of.
  const int first_x = tile_x * 2 - a.pad_left;
  const auto words = [&](int in_y) {
    const auto row = reinterpret_cast<std::uintptr_t>(
        x + (static_cast<std::int64_t>(in_y) * a.width + first_x) * 3);
    return reinterpret_cast<const unsigned*>(row / 4 * 4);
  };
  const unsigned char* end = x + static_cast<std::int64_t>(a.height) * a.width * 3;
  for (int i = thread; i < kHaloHeight * kRawWords; i += kThreads) {
    const int in_y = tile_y * 2 - a.pad_top + i / kRawWords;
    if (in_y < 0 || in_y >= a.height) continue;
    const unsigned* word = words(in_y) + i % kRawWords;
    const bool inside = reinterpret_cast<const unsigned char*>(word) >= x &&
                        reinterpret_cast<const unsigned char*>(word) + 4 <= end;
    raw[i] = inside ? __ldg(word) : 0U;
  }
  __syncthreads();
  for (int i = thread; i < kHaloHeight * kHaloWidth; i += kThreads) {
    const int in_y = tile_y * 2 - a.pad_top + i / kHaloWidth;
    const int in_x = first_x + i % kHaloWidth;
    __half2 low = __floats2half2_rn(0.0F, 0.0F);
    __half2 high = low;
    if (in_y >= 0 && in_x >= 0 && in_y < a.height && in_x < a.width) {
      const unsigned char* from = x + (static_cast<std::int64_t>(in_y) * a.width + in_x) * 3;
      const auto* pixel = reinterpret_cast<const unsigned char*>(raw + i / kHaloWidth * kRawWords) +
                          (from - reinterpret_cast<const unsigned char*>(words(in_y)));
      low = __halves2half2(__ushort2half_rn(pixel[0]), __ushort2half_rn(pixel[1]));
      high = __halves2half2(__ushort2half_rn(pixel[2]), __ushort_as_half(0));
    }
    *reinterpret_cast<uint2*>(shared + i * 8) =
        make_uint2(*reinterpret_cast<unsigned*>(&low), *reinterpret_cast<unsigned*>(&high));
  }
  __syncthreads();
  std::uint32_t fragments[kRows][kKernel * kSteps][4];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int pixel = (warp * kRows + i) * 16 + (lane & 15);
    const std::uint32_t row =
        base + pixel / kTileWidth * 2 * kRowBytes + pixel % kTileWidth * 16 + (lane >> 4) * 16;
#pragma unroll
    for (int step = 0; step < kKernel * kSteps; ++step) {
      load_fragment(fragments[i][step], row + step / kSteps * kRowBytes + step % kSteps * 32);
    }
  }
  for (int block = 0; block * 16 < a.out_channels; ++block) {
    const auto* weights = static_cast<const uint4*>(a.weights) +
                          static_cast<std::size_t>(block) * kKernel * kSteps * 32 + lane;
    float sums[kRows][2][4] = {};
#pragma unroll
    for (int step = 0; step < kKernel * kSteps; ++step) {
      const uint4 b = __ldg(weights + step * 32);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        multiply(sums[i][0], fragments[i][step], b.x, b.y);
        multiply(sums[i][1], fragments[i][step], b.z, b.w);
      }
    }
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int channel = block * 16 + j * 8 + (lane & 3) * 2;
      const float2 bias = *reinterpret_cast<const float2*>(a.bias + channel);
      const float2 scale = *reinterpret_cast<const float2*>(a.scales + channel);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int pixel = (warp * kRows + i) * 16 + (lane >> 2) + 8 * half;
          const int out_y = tile_y + pixel / kTileWidth;
          const int out_x = tile_x + pixel % kTileWidth;
          if (a.vectors == 0 && (out_y >= a.out_height || out_x >= a.out_width)) continue;
          const float u =
              activate<true>(fmaf(sums[i][j][2 * half], scale.x, bias.x), a.activation, a.alpha);
          const float v = activate<true>(fmaf(sums[i][j][2 * half + 1], scale.y, bias.y),
                                         a.activation, a.alpha);
          char* to = y + (static_cast<std::int64_t>(out_y) * a.out_width + out_x) * a.y_pixel;
          if (a.vectors != 0) {
            *reinterpret_cast<__half2*>(staged + pixel * 32 + (j * 8 + (lane & 3) * 2) * 2) =
                __floats2half2_rn(u, v);
            continue;
          }
          if (channel < a.out_channels) store(to, a.y_scalar, channel, u);
          if (channel + 1 < a.out_channels) store(to, a.y_scalar, channel + 1, v);
        }
      }
    }
    if (a.vectors == 0) continue;
    // A warp's pixels are its own.
    __syncwarp();
    for (int i = lane; i < kRows * 32; i += 32) {
      const int pixel = warp * kRows * 16 + i / 2;
      const int channel = block * 16 + i % 2 * 8;
      const int out_y = tile_y + pixel / kTileWidth;
      const int out_x = tile_x + pixel % kTileWidth;
      if (out_y >= a.out_height || out_x >= a.out_width || channel >= a.out_channels) continue;
      *reinterpret_cast<uint4*>(
          y + (static_cast<std::int64_t>(out_y) * a.out_width + out_x) * a.y_pixel + channel * 2) =
          *reinterpret_cast<const uint4*>(staged + pixel * 32 + i % 2 * 16);
    }
    __syncwarp();
  }
}

}  // namespace

}  // namespace fovea::engine::cuda

using fovea::engine::cuda::ConvolutionArguments;

extern "C" __global__ void __launch_bounds__(256, 4)
    stem_3(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_bytes<3, 8, 16, 8, 1>(a);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    stem_6(const __grid_constant__ ConvolutionArguments a) {
  fovea::engine::cuda::convolve_bytes<6, 8, 16, 8, 1>(a);
}
