// The inner loops of the tensor operators over vectors of any width. Included by the
// tensor_rows_*.cpp files inside their target pragma, after the vectors.
#pragma once

#include "nodes/detector/engine/cpu/kernels/vector_math.hpp"

namespace fovea::engine::kernels {
namespace {

// Elements first, first + 1, ...; lanes that are off hold anything.
inline Floats load(const Elements<const void>& from, std::int64_t first, Lanes lanes,
                   std::int64_t count) {
  const auto* floats = static_cast<const float*>(from.data);
  if (from.type == DataType::kFloat32) {
    if (from.stride == 1) return load_floats(floats + first, lanes);
    if (from.stride == 0) return set(*floats);
  } else if (from.stride == 1 && from.type == DataType::kUint8) {
    const Integers codes = load_widened(static_cast<const std::uint8_t*>(from.data) + first, lanes);
    return to_floats(subtract(codes, set_integer(from.grid.zero_point))) * set(from.grid.scale);
  }
  alignas(64) float values[kLanes] = {};
  if (from.type == DataType::kFloat32) {
    for (std::int64_t i = 0; i < count; ++i) values[i] = floats[(first + i) * from.stride];
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = load_element(from.data, from.type, from.grid, (first + i) * from.stride);
    }
  }
  return load_floats(values);
}

inline void store(const Elements<void>& to, std::int64_t first, Lanes lanes, std::int64_t count,
                  Floats value) {
  auto* floats = static_cast<float*>(to.data);
  if (to.type == DataType::kFloat32 && to.stride == 1) {
    store_floats(floats + first, lanes, value);
    return;
  }
  alignas(64) float values[kLanes];
  store_floats(values, value);
  if (to.type == DataType::kFloat32) {
    for (std::int64_t i = 0; i < count; ++i) floats[(first + i) * to.stride] = values[i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      store_element(to.data, to.type, to.grid, (first + i) * to.stride, values[i]);
    }
  }
}

template <MapOp kOp>
void map_loop(const MapRow& row) {
  for (std::int64_t i = 0; i < row.count; i += kLanes) {
    const std::int64_t count = std::min(kLanes, row.count - i);
    const Lanes lanes = first_lanes(row.count - i);
    Floats value = load(row.a, i, lanes, count);
    if constexpr (kOp == MapOp::kSigmoid) {
      value = activate<Activation::kSigmoid>(value, value);
    } else if constexpr (kOp == MapOp::kSilu) {
      value = activate<Activation::kSilu>(value, value);
    } else if constexpr (kOp == MapOp::kErf) {
      value = error_function(value);
    } else if constexpr (kOp == MapOp::kGelu) {
      value = value * set(0.5F) * (set(1) + error_function(value * set(0.70710678F)));
    } else if constexpr (kOp == MapOp::kRelu) {
      value = activate<Activation::kRelu>(value, value);
    } else if constexpr (kOp != MapOp::kCopy) {
      const Floats other = load(row.b, i, lanes, count);
      if constexpr (kOp == MapOp::kAdd) value = value + other;
      if constexpr (kOp == MapOp::kSub) value = value - other;
      if constexpr (kOp == MapOp::kMul) value = value * other;
      if constexpr (kOp == MapOp::kDiv) value = value / other;
    }
    store(row.to, i, lanes, count, value);
  }
}

void map(const MapRow& row) {
  switch (row.op) {
    case MapOp::kCopy:
      return map_loop<MapOp::kCopy>(row);
    case MapOp::kSigmoid:
      return map_loop<MapOp::kSigmoid>(row);
    case MapOp::kSilu:
      return map_loop<MapOp::kSilu>(row);
    case MapOp::kRelu:
      return map_loop<MapOp::kRelu>(row);
    case MapOp::kErf:
      return map_loop<MapOp::kErf>(row);
    case MapOp::kGelu:
      return map_loop<MapOp::kGelu>(row);
    case MapOp::kAdd:
      return map_loop<MapOp::kAdd>(row);
    case MapOp::kSub:
      return map_loop<MapOp::kSub>(row);
    case MapOp::kMul:
      return map_loop<MapOp::kMul>(row);
    case MapOp::kDiv:
      return map_loop<MapOp::kDiv>(row);
  }
}

void softmax(float* row, std::int64_t count) {
  const Floats lowest = set(-3.4028235e38F);
  Floats highest = lowest;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const Lanes lanes = first_lanes(count - i);
    highest = larger(highest, choose(lanes, load_floats(row + i, lanes), lowest));
  }
  const Floats top = set(largest_lane(highest));
  Floats sums = set(0);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const Lanes lanes = first_lanes(count - i);
    // Below e^-87 a share is nothing in f32; exponential() needs the bound. As the second operand NaN
    // is the larger one, so that a row with NaN or infinity has no shares but NaN.
    const Floats power = exponential(larger(set(-87), load_floats(row + i, lanes) - top));
    sums = sums + keep(lanes, power);
    store_floats(row + i, lanes, power);
  }
  const Floats share = set(1 / sum_of_lanes(sums));
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const Lanes lanes = first_lanes(count - i);
    store_floats(row + i, lanes, load_floats(row + i, lanes) * share);
  }
}

void normalize(const NormalizedRow& job) {
  Floats sums = set(0);
  for (std::int64_t i = 0; i < job.count; i += kLanes) {
    sums = sums + load_floats(job.row + i, first_lanes(job.count - i));
  }
  const auto size = static_cast<float>(job.count);
  const Floats mean = set(sum_of_lanes(sums) / size);
  Floats squares = set(0);
  for (std::int64_t i = 0; i < job.count; i += kLanes) {
    const Lanes lanes = first_lanes(job.count - i);
    const Floats off = keep(lanes, load_floats(job.row + i, lanes) - mean);
    squares = multiply_add(off, off, squares);
  }
  const Floats factor = set(1 / std::sqrt(sum_of_lanes(squares) / size + job.epsilon));
  for (std::int64_t i = 0; i < job.count; i += kLanes) {
    const Lanes lanes = first_lanes(job.count - i);
    const Floats value = (load_floats(job.row + i, lanes) - mean) * factor;
    const Floats bias = job.bias == nullptr ? set(0) : load_floats(job.bias + i, lanes);
    store_floats(job.row + i, lanes, multiply_add(value, load_floats(job.scale + i, lanes), bias));
  }
}

void blend(const BlendRow& job) {
  if (job.from_stride != 1) {
    for (std::int64_t i = 0; i < job.count; ++i) {
      const std::int64_t at = i * job.from_stride;
      job.to[i * job.to_stride] =
          job.weights[0] * job.from[0][at] + job.weights[1] * job.from[1][at] +
          job.weights[2] * job.from[2][at] + job.weights[3] * job.from[3][at];
    }
    return;
  }
  for (std::int64_t i = 0; i < job.count; i += kLanes) {
    const std::int64_t count = std::min(kLanes, job.count - i);
    const Lanes lanes = first_lanes(job.count - i);
    Floats sum = set(0);
    for (std::size_t k = 0; k < job.from.size(); ++k) {
      sum = multiply_add(set(job.weights[k]), load_floats(job.from[k] + i, lanes), sum);
    }
    if (job.to_stride == 1) {
      store_floats(job.to + i, lanes, sum);
      continue;
    }
    alignas(64) float values[kLanes];
    store_floats(values, sum);
    for (std::int64_t c = 0; c < count; ++c) job.to[(i + c) * job.to_stride] = values[c];
  }
}

// As many sums at a time as registers hold.
void multiply(const MatMulBlock& block) {
  constexpr std::int64_t kWide = 2;  // vectors of columns
  constexpr std::int64_t kRows = kVectorRegisters == 32 ? 8 : 4;
  static_assert(kMatMulRows % kRows == 0 && kMatMulColumns % (kWide * kLanes) == 0);
  for (std::int64_t row = 0; row < kMatMulRows; row += kRows) {
    for (std::int64_t column = 0; column < kMatMulColumns; column += kWide * kLanes) {
      Floats sums[kRows][kWide];
#pragma GCC unroll 8
      for (auto& sum : sums) sum[0] = sum[1] = set(0);
      const float* a = block.a + row;
      const float* b = block.b + column;
      for (std::int64_t k = 0; k < block.depth; ++k, a += kMatMulRows, b += kMatMulColumns) {
        const Floats left = load_floats(b);
        const Floats right = load_floats(b + kLanes);
#pragma GCC unroll 8
        for (std::int64_t r = 0; r < kRows; ++r) {
          const Floats x = set(a[r]);
          sums[r][0] = multiply_add(x, left, sums[r][0]);
          sums[r][1] = multiply_add(x, right, sums[r][1]);
        }
      }
      float* to = block.to + row * block.to_stride + column;
#pragma GCC unroll 8
      for (std::int64_t r = 0; r < kRows; ++r) {
        store_floats(to + r * block.to_stride, sums[r][0]);
        store_floats(to + r * block.to_stride + kLanes, sums[r][1]);
      }
    }
  }
}

}  // namespace
}  // namespace fovea::engine::kernels
