// Tensors that are no pictures, or pictures element by element: any strides, either precision.
#include "nodes/detector/engine/cuda/kernels/device.cuh"

namespace fovea::engine::cuda {

namespace {

__device__ __forceinline__ float compute(MapOp op, float a, float b, float alpha, float beta) {
  switch (op) {
    case MapOp::kCopy:
      return a;
    case MapOp::kSigmoid:
      return exact_sigmoid(a);
    case MapOp::kSilu:
      return a * exact_sigmoid(a);
    case MapOp::kRelu:
      return a < 0.0F ? 0.0F : a;
    case MapOp::kLeakyRelu:
      return a < 0.0F ? alpha * a : a;
    case MapOp::kHardSwish:
      return a * fminf(fmaxf(a + 3.0F, 0.0F), 6.0F) / 6.0F;
    case MapOp::kHardSigmoid:
      return fminf(fmaxf(alpha * a + beta, 0.0F), 1.0F);
    case MapOp::kExp:
      return expf(a);
    case MapOp::kLog:
      return logf(a);
    case MapOp::kSqrt:
      return sqrtf(a);
    case MapOp::kNeg:
      return -a;
    case MapOp::kFloor:
      return floorf(a);
    case MapOp::kErf:
      return erff(a);
    case MapOp::kGelu:
      return 0.5F * a * (1.0F + erff(a * 0.70710678118654752F));
    case MapOp::kTanh:
      return tanhf(a);
    case MapOp::kSin:
      return sinf(a);
    case MapOp::kCos:
      return cosf(a);
    case MapOp::kClip:
      return a < alpha ? alpha : (a > beta ? beta : a);
    case MapOp::kAdd:
      return a + b;
    case MapOp::kSub:
      return a - b;
    case MapOp::kMul:
      return a * b;
    case MapOp::kDiv:
      return a / b;
    case MapOp::kPow:
      return b == 2.0F ? a * a : powf(a, b);
    case MapOp::kMin:
      return a != a || a < b ? a : b;
    case MapOp::kMax:
      return a != a || a > b ? a : b;
  }
  return a;
}

__device__ __forceinline__ const void* of_image(const MapOperand& operand) {
  return at(static_cast<const void*>(operand.data), blockIdx.z * operand.image);
}
__device__ __forceinline__ void* of_image_out(const MapOperand& operand) {
  return at(operand.data, blockIdx.z * operand.image);
}

// Sums of a block of 128 threads, in every thread.
template <bool kMaximum>
__device__ __forceinline__ float over_block(float value) {
  __shared__ float parts[4];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(~0U, value, step);
    value = kMaximum ? (value != value || value > other ? value : other) : value + other;
  }
  __syncthreads();  // of an earlier call
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = parts[0];
#pragma unroll
  for (int i = 1; i < 4; ++i) {
    value = kMaximum ? (value != value || value > parts[i] ? value : parts[i]) : value + parts[i];
  }
  return value;
}

}  // namespace

}  // namespace fovea::engine::cuda

using namespace fovea::engine::cuda;

extern "C" __global__ void __launch_bounds__(128)
    map_elements(const __grid_constant__ MapArguments a) {
  release_dependents();
  wait_for_producers();
  std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= a.elements) return;
  std::int64_t from_a = 0;
  std::int64_t from_b = 0;
  std::int64_t to = 0;
  auto left = static_cast<std::uint32_t>(index);
  for (int axis = a.axes - 1; axis >= 0; --axis) {
    const auto extent = static_cast<std::uint32_t>(a.extents[axis]);
    const std::uint32_t i = left % extent;
    left /= extent;
    from_a += static_cast<std::int64_t>(i) * a.a.strides[axis];
    from_b += static_cast<std::int64_t>(i) * a.b.strides[axis];
    to += static_cast<std::int64_t>(i) * a.to.strides[axis];
  }
  const float x = load(of_image(a.a), a.a.scalar, from_a);
  const float y = a.op >= MapOp::kAdd ? load(of_image(a.b), a.b.scalar, from_b) : 0.0F;
  store(of_image_out(a.to), a.to.scalar, to, compute(a.op, x, y, a.alpha, a.beta));
}

// One row a block of 128 threads.
extern "C" __global__ void __launch_bounds__(128)
    reduce_rows(const __grid_constant__ ReduceArguments a) {
  release_dependents();
  wait_for_producers();
  auto left = static_cast<int>(blockIdx.x);
  std::int64_t from = 0;
  std::int64_t to = 0;
  for (int axis = a.outer_axes - 1; axis >= 0; --axis) {
    const int i = left % a.extents[axis];
    left /= a.extents[axis];
    from += static_cast<std::int64_t>(i) * a.from.strides[axis];
    to += static_cast<std::int64_t>(i) * a.to.strides[axis];
  }
  const auto place = [&](int i, const MapOperand& operand) {
    std::int64_t result = 0;
    for (int axis = a.outer_axes + a.reduced - 1; axis >= a.outer_axes; --axis) {
      result += static_cast<std::int64_t>(i % a.extents[axis]) * operand.strides[axis];
      i /= a.extents[axis];
    }
    return result;
  };
  const void* x = of_image(a.from);
  void* y = of_image_out(a.to);
  const auto value = [&](int i) { return load(x, a.from.scalar, from + place(i, a.from)); };
  const bool maximum = a.op == ReduceOp::kMax || a.op == ReduceOp::kSoftmax;
  float partial = maximum ? -INFINITY : 0.0F;
  for (int i = static_cast<int>(threadIdx.x); i < a.row; i += 128) {
    const float v = value(i);
    if (maximum) {
      partial = v != v || v > partial ? v : partial;
    } else {
      partial += a.op == ReduceOp::kL2 ? v * v : v;
    }
  }
  const float whole = maximum ? over_block<true>(partial) : over_block<false>(partial);
  if (a.op == ReduceOp::kSoftmax) {
    float sum = 0.0F;
    for (int i = static_cast<int>(threadIdx.x); i < a.row; i += 128) sum += expf(value(i) - whole);
    sum = over_block<false>(sum);
    for (int i = static_cast<int>(threadIdx.x); i < a.row; i += 128) {
      store(y, a.to.scalar, to + place(i, a.to), expf(value(i) - whole) / sum);
    }
    return;
  }
  if (a.op == ReduceOp::kNormalize) {
    const float mean = whole / static_cast<float>(a.row);
    float squares = 0.0F;
    for (int i = static_cast<int>(threadIdx.x); i < a.row; i += 128) {
      squares += (value(i) - mean) * (value(i) - mean);
    }
    const float inverse =
        1.0F / sqrtf(over_block<false>(squares) / static_cast<float>(a.row) + a.epsilon);
    for (int i = static_cast<int>(threadIdx.x); i < a.row; i += 128) {
      const float scale = a.scale != nullptr ? a.scale[i] : 1.0F;
      const float offset = a.offset != nullptr ? a.offset[i] : 0.0F;
      store(y, a.to.scalar, to + place(i, a.to), (value(i) - mean) * inverse * scale + offset);
    }
    return;
  }
  if (threadIdx.x != 0) return;
  const float result = a.op == ReduceOp::kMean ? whole / static_cast<float>(a.row)
                       : a.op == ReduceOp::kL2 ? sqrtf(whole)
                                               : whole;
  store(y, a.to.scalar, to, result);
}

// A block of 16 x 16 threads computes 64 x 64 numbers, 4 x 4 each. z: matrices of all images.
extern "C" __global__ void __launch_bounds__(256)
    multiply_matrices(const __grid_constant__ MatMulArguments a) {
  release_dependents();
  wait_for_producers();
  __shared__ float left[16][68];
  __shared__ float right[16][68];
  const int image = static_cast<int>(blockIdx.z) / a.batches;
  int batch = static_cast<int>(blockIdx.z) % a.batches;
  const void* from_a = at(static_cast<const void*>(a.a.data), image * a.a.image);
  const void* from_b = at(static_cast<const void*>(a.b.data), image * a.b.image);
  void* y = at(a.to.data, image * a.to.image);
  std::int64_t offset_a = 0;
  std::int64_t offset_b = 0;
  std::int64_t offset_y = 0;
  for (int axis = a.batch_axes - 1; axis >= 0; --axis) {
    const int i = batch % a.batch_extents[axis];
    batch /= a.batch_extents[axis];
    offset_a += static_cast<std::int64_t>(i) * a.a.strides[axis];
    offset_b += static_cast<std::int64_t>(i) * a.b.strides[axis];
    offset_y += static_cast<std::int64_t>(i) * a.to.strides[axis];
  }
  const int rows = a.batch_axes;
  const int columns = a.batch_axes + 1;
  const int first_m = static_cast<int>(blockIdx.y) * 64;
  const int first_n = static_cast<int>(blockIdx.x) * 64;
  const int thread_m = static_cast<int>(threadIdx.x) / 16 * 4;
  const int thread_n = static_cast<int>(threadIdx.x) % 16 * 4;
  float sums[4][4] = {};
  for (int k0 = 0; k0 < a.k; k0 += 16) {
    for (int i = static_cast<int>(threadIdx.x); i < 16 * 64; i += 256) {
      // Threads side by side read along the axis that lies side by side.
      const bool along_k = a.a.strides[columns] == 1;
      const int k = along_k ? i % 16 : i / 64;
      const int m = along_k ? i / 16 : i % 64;
      left[k][m] =
          first_m + m < a.m && k0 + k < a.k
              ? load(from_a, a.a.scalar,
                     offset_a + static_cast<std::int64_t>(first_m + m) * a.a.strides[rows] +
                         static_cast<std::int64_t>(k0 + k) * a.a.strides[columns])
              : 0.0F;
    }
    for (int i = static_cast<int>(threadIdx.x); i < 16 * 64; i += 256) {
      const bool along_k = a.b.strides[rows] == 1;
      const int k = along_k ? i % 16 : i / 64;
      const int n = along_k ? i / 16 : i % 64;
      right[k][n] = first_n + n < a.n && k0 + k < a.k
                        ? load(from_b, a.b.scalar,
                               offset_b + static_cast<std::int64_t>(k0 + k) * a.b.strides[rows] +
                                   static_cast<std::int64_t>(first_n + n) * a.b.strides[columns])
                        : 0.0F;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[i][j] = fmaf(left[k][thread_m + i], right[k][thread_n + j], sums[i][j]);
        }
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int m = first_m + thread_m + i;
      const int n = first_n + thread_n + j;
      if (m >= a.m || n >= a.n) continue;
      store(y, a.to.scalar,
            offset_y + static_cast<std::int64_t>(m) * a.to.strides[rows] +
                static_cast<std::int64_t>(n) * a.to.strides[columns],
            sums[i][j]);
    }
  }
}
