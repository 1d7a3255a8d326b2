// Convolution by matrix products of the tensor cores (mma.sync, sm_80 and later), f16 in, f32 sums.
//
// A block computes kTileHeight x kTileWidth output pixels times kChannels output channels of one
// image. The input under it, with its halo, is brought to shared memory in chunks of kBytes of
// channels per pixel, by asynchronous copies that write zeros outside the picture; every tap reads
// the same chunk at another offset. Weights lie in the order in which a warp's fragments want them,
// [block of 16 outputs][step of 16 inputs][tap][lane][4 words], and come straight to registers. Warps
// divide pixels (kWarpsM), outputs (kWarpsN) and the chunk's steps (kWarpsK; their sums are added up
// in shared memory). A warp holds kRows x 16 pixels and kBlocks x 16 outputs.
#pragma once

#include "nodes/detector/engine/cuda/kernels/device.cuh"
#include "nodes/detector/engine/cuda/kernels/tensor_cores.cuh"

namespace fovea::engine::cuda {

template <int kKernel, int kStride, int kTileHeight, int kTileWidth, int kBytes, int kRows,
          int kBlocks, int kWarpsM, int kWarpsN, int kWarpsK, int kStages>
__device__ __forceinline__ void convolve(const ConvolutionArguments& arguments) {
  constexpr int kThreads = 32 * kWarpsM * kWarpsN * kWarpsK;
  constexpr int kPixels = kTileHeight * kTileWidth;
  constexpr int kChannels = 16 * kBlocks * kWarpsN;
  constexpr int kTaps = kKernel * kKernel;
  constexpr int kHaloHeight = (kTileHeight - 1) * kStride + kKernel;
  constexpr int kHaloWidth = (kTileWidth - 1) * kStride + kKernel;
  constexpr int kPitch = kBytes + 16;  // of a pixel; neighbours start in other banks
  constexpr int kPieces = kBytes / 16;
  constexpr int kSteps = kBytes / 32;
  constexpr int kStageBytes = kHaloHeight * kHaloWidth * kPitch;
  static_assert(kPixels == 16 * kRows * kWarpsM);
  static_assert(kSteps % kWarpsK == 0);

  extern __shared__ __align__(128) char shared[];
  const auto base = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread & 31;
  const int warp_k = (thread >> 5) / (kWarpsM * kWarpsN);
  const int warp = (thread >> 5) % (kWarpsM * kWarpsN);
  const int warp_m = warp / kWarpsN;
  const int warp_n = warp % kWarpsN;
  const int tile_x = static_cast<int>(blockIdx.x) % arguments.tiles_x * kTileWidth;
  const int tile_y = static_cast<int>(blockIdx.x) / arguments.tiles_x * kTileHeight;
  const int image = static_cast<int>(blockIdx.z);
  const int first_channel = static_cast<int>(blockIdx.y) * kChannels;
  const int channel_bytes = arguments.channels * 2;
  const int chunks = (channel_bytes + kBytes - 1) / kBytes;
  const int all_steps = (arguments.channels + 15) / 16;
  const int all_blocks = (arguments.out_channels + 15) / 16;
  release_dependents();

  // Blocks beyond the last one compute what nobody stores.
  const uint4* weights[kBlocks];
#pragma unroll
  for (int j = 0; j < kBlocks; ++j) {
    const int block = min(first_channel / 16 + warp_n * kBlocks + j, all_blocks - 1);
    weights[j] = static_cast<const uint4*>(arguments.weights) +
                 static_cast<std::size_t>(block) * all_steps * kTaps * 32 + lane;
  }
  float sums[kRows][kBlocks * 2][4] = {};

  const char* x = static_cast<const char*>(arguments.x) + image * arguments.x_image;
  const int first_y = tile_y * kStride - arguments.pad_top;
  const int first_x = tile_x * kStride - arguments.pad_left;
  const auto fetch = [&](int chunk, int stage) {
    for (int i = thread; i < kHaloHeight * kHaloWidth * kPieces; i += kThreads) {
      const int pixel = i / kPieces;
      const int piece = i % kPieces;
      const int in_y = first_y + pixel / kHaloWidth;
      const int in_x = first_x + pixel % kHaloWidth;
      const int offset = chunk * kBytes + piece * 16;
      const bool inside =
          in_y >= 0 && in_x >= 0 && in_y < arguments.height && in_x < arguments.width;
      const int valid = inside ? min(max(channel_bytes - offset, 0), 16) : 0;
      const char* from =
          valid > 0
              ? x + (static_cast<std::int64_t>(in_y) * arguments.width + in_x) * arguments.x_pixel +
                    offset
              : static_cast<const char*>(arguments.x);
      copy_async(base + stage * kStageBytes + pixel * kPitch + piece * 16, from, valid);
    }
    commit_copies();
  };
  wait_for_producers();
#pragma unroll
  for (int stage = 0; stage < (kStages > 1 ? kStages - 1 : 1); ++stage) {
    if (stage < chunks) {
      fetch(stage, stage);
    } else {
      commit_copies();
    }
  }

  std::uint32_t rows[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int pixel = (warp_m * kRows + i) * 16 + (lane & 15);
    rows[i] = base +
              (pixel / kTileWidth * kStride * kHaloWidth + pixel % kTileWidth * kStride) * kPitch +
              (lane >> 4) * 16;
  }
  for (int chunk = 0; chunk < chunks; ++chunk) {
    wait_for_copies<(kStages > 1 ? kStages - 2 : 0)>();
    __syncthreads();
    if (kStages > 1) {
      const int next = chunk + kStages - 1;
      if (next < chunks) {
        fetch(next, next % kStages);
      } else {
        commit_copies();
      }
    }
    const std::uint32_t stage = (kStages > 1 ? chunk % kStages : 0) * kStageBytes;
#pragma unroll
    for (int q = 0; q < kSteps / kWarpsK; ++q) {
      const int step = warp_k * (kSteps / kWarpsK) + q;
      if (chunk * kSteps + step >= all_steps) break;
      const std::size_t at_step = static_cast<std::size_t>(chunk * kSteps + step) * kTaps * 32;
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        uint4 b[kBlocks];
#pragma unroll
        for (int j = 0; j < kBlocks; ++j) b[j] = __ldg(weights[j] + at_step + tap * 32);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          std::uint32_t a[4];
          load_fragment(a, rows[i] + stage + (tap / kKernel * kHaloWidth + tap % kKernel) * kPitch +
                               step * 32);
#pragma unroll
          for (int j = 0; j < kBlocks; ++j) {
            multiply(sums[i][2 * j], a, b[j].x, b[j].y);
            multiply(sums[i][2 * j + 1], a, b[j].z, b[j].w);
          }
        }
      }
    }
    if (kStages == 1 && chunk + 1 < chunks) {
      __syncthreads();
      fetch(chunk + 1, 0);
    }
  }
  wait_for_copies<0>();
  __syncthreads();

  if constexpr (kWarpsK > 1) {
    auto* parts = reinterpret_cast<float*>(shared);
    constexpr int kPart = kRows * kBlocks * 8 * 32;
    if (warp_k > 0) {
#pragma unroll
      for (int i = 0; i < kRows * kBlocks * 8; ++i) {
        parts[((warp_k - 1) * kWarpsM * kWarpsN + warp) * kPart + i * 32 + lane] =
            sums[i / (kBlocks * 8)][i / 4 % (kBlocks * 2)][i % 4];
      }
    }
    __syncthreads();
    if (warp_k == 0) {
#pragma unroll
      for (int part = 0; part < kWarpsK - 1; ++part) {
#pragma unroll
        for (int i = 0; i < kRows * kBlocks * 8; ++i) {
          sums[i / (kBlocks * 8)][i / 4 % (kBlocks * 2)][i % 4] +=
              parts[(part * kWarpsM * kWarpsN + warp) * kPart + i * 32 + lane];
        }
      }
    }
    __syncthreads();
  }

  char* y = static_cast<char*>(arguments.y) + image * arguments.y_image;
  const char* residual =
      static_cast<const char*>(arguments.residual) + image * arguments.residual_image;
  const auto place = [&](int pixel) -> std::int64_t {  // of an output pixel, -1 outside
    const int out_y = tile_y + pixel / kTileWidth;
    const int out_x = tile_x + pixel % kTileWidth;
    if (out_y >= arguments.out_height || out_x >= arguments.out_width) return -1;
    return static_cast<std::int64_t>(out_y) * arguments.out_width + out_x;
  };

  // Straight from the registers where the result is f32 or cannot be moved in 16 bytes.
  const bool staged = arguments.vectors != 0;
  const bool pairs = arguments.y_scalar == Scalar::kFloat && arguments.residual == nullptr &&
                     arguments.out_channels % 2 == 0 && arguments.y_pixel % 8 == 0 &&
                     reinterpret_cast<std::uintptr_t>(y) % 8 == 0;
  constexpr int kRowBytes = kChannels * 2 + 16;
  const auto finish = [&](const auto& activation) {
#pragma unroll
    for (int j = 0; j < kBlocks * 2; ++j) {
      const int channel = warp_n * kBlocks * 16 + j * 8 + (lane & 3) * 2;
      const float2 bias =
          *reinterpret_cast<const float2*>(arguments.bias + first_channel + channel);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float u = activation(sums[i][j][2 * half] + bias.x);
          const float v = activation(sums[i][j][2 * half + 1] + bias.y);
          const int pixel = (warp_m * kRows + i) * 16 + (lane >> 2) + 8 * half;
          if (staged) {
            *reinterpret_cast<__half2*>(shared + pixel * kRowBytes + channel * 2) =
                __floats2half2_rn(u, v);
            continue;
          }
          const std::int64_t to = place(pixel);
          if (to < 0) continue;
          if (pairs && first_channel + channel < arguments.out_channels) {
            *reinterpret_cast<float2*>(y + to * arguments.y_pixel + (first_channel + channel) * 4) =
                make_float2(u, v);
            continue;
          }
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            const int out = first_channel + channel + k;
            if (out >= arguments.out_channels) continue;
            float value = k == 0 ? u : v;
            if (arguments.residual != nullptr) {
              value +=
                  load(residual + to * arguments.residual_pixel, arguments.residual_scalar, out);
            }
            store(y + to * arguments.y_pixel, arguments.y_scalar, out, value);
          }
        }
      }
    }
  };
  if (warp_k == 0) {
    // The usual one is told once, not at every number.
    if (arguments.activation == Epilogue::kSilu) {
      finish([](float x) { return x * fast_sigmoid(x); });
    } else {
      finish([&](float x) { return activate<true>(x, arguments.activation, arguments.alpha); });
    }
  }
  if (!staged) return;
  __syncthreads();
  constexpr int kVectors = kChannels / 8;
  for (int i = thread; i < kPixels * kVectors; i += kThreads) {
    const int vector = i % kVectors;
    const std::int64_t to = place(i / kVectors);
    const int channel = first_channel + vector * 8;
    if (to < 0 || channel >= arguments.out_channels) continue;
    uint4 values = *reinterpret_cast<const uint4*>(shared + i / kVectors * kRowBytes + vector * 16);
    if (arguments.residual != nullptr) {
      const uint4 more =
          *reinterpret_cast<const uint4*>(residual + to * arguments.residual_pixel + channel * 2);
      auto* sum = reinterpret_cast<__half2*>(&values);
      const auto* other = reinterpret_cast<const __half2*>(&more);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[e] = __hadd2(sum[e], other[e]);
    }
    *reinterpret_cast<uint4*>(y + to * arguments.y_pixel + channel * 2) = values;
  }
}

}  // namespace fovea::engine::cuda

#define FOVEA_CONVOLUTION(kernel, stride, th, tw, bytes, rows, blocks, wm, wn, wk, stages)     \
  extern "C" __global__ void __launch_bounds__(32 * wm * wn * wk)                              \
      FOVEA_CONVOLUTION_NAME(kernel, stride, th, tw, bytes, rows, blocks, wm, wn, wk, stages)( \
          const __grid_constant__ fovea::engine::cuda::ConvolutionArguments arguments) {       \
    fovea::engine::cuda::convolve<kernel, stride, th, tw, bytes, rows, blocks, wm, wn, wk,     \
                                  stages>(arguments);                                          \
  }
