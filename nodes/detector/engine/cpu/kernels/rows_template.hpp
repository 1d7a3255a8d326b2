// The row functions over vectors of any width, but for the table. Included by the rows_*.cpp files
// inside their target pragma, after the vectors; internal linkage keeps each instruction set's
// instances apart.
#pragma once

#include "nodes/detector/engine/cpu/kernels/vector_math.hpp"

namespace fovea::engine::kernels {
namespace {

struct VectorGrid {
  explicit VectorGrid(const Grid& grid)
      : scale(set(grid.scale)),
        inverse_scale(set(1 / grid.scale)),
        zero_point(set(static_cast<float>(grid.zero_point))),
        integer_zero_point(set_integer(grid.zero_point)) {}
  Floats scale;
  Floats inverse_scale;
  Floats zero_point;
  Integers integer_zero_point;
};

template <DataType kType>
inline Floats load(const void* data, std::int64_t index, Lanes lanes, const VectorGrid& grid) {
  if constexpr (kType == DataType::kUint8) {
    const Integers codes = load_widened(static_cast<const std::uint8_t*>(data) + index, lanes);
    return to_floats(subtract(codes, grid.integer_zero_point)) * grid.scale;
  } else if constexpr (kType == DataType::kFloat16) {
    return load_halves(static_cast<const std::uint16_t*>(data) + index, lanes);
  } else if constexpr (kType == DataType::kBfloat16) {
    return load_bfloats(static_cast<const std::uint16_t*>(data) + index, lanes);
  } else {
    return load_floats(static_cast<const float*>(data) + index, lanes);
  }
}

template <DataType kType>
inline void store(void* data, std::int64_t index, Lanes lanes, const VectorGrid& grid,
                  Floats value) {
  if constexpr (kType == DataType::kUint8) {
    const Floats code = multiply_add(value, grid.inverse_scale, grid.zero_point);
    store_narrowed(static_cast<std::uint8_t*>(data) + index, lanes,
                   to_integers(smaller(larger(code, set(0)), set(255))));
  } else if constexpr (kType == DataType::kFloat16) {
    store_halves(static_cast<std::uint16_t*>(data) + index, lanes, value);
  } else if constexpr (kType == DataType::kBfloat16) {
    store_bfloats(static_cast<std::uint16_t*>(data) + index, lanes, value);
  } else {
    store_floats(static_cast<float*>(data) + index, lanes, value);
  }
}

template <DataType kFrom, DataType kTo, Activation kActivation>
void pointwise_loop(const PointwiseJob& given) {
  const PointwiseJob job = given;  // a copy, which no store can change
  const VectorGrid from_grid(job.from.grid);
  const VectorGrid to_grid(job.to_grid);
  const VectorGrid residual_grid(job.residual.grid);
  const Floats alpha = set(job.alpha);
  std::int64_t pixels = job.pixels;
  std::int64_t channels = job.channels;
  const bool dense = job.repeat == 1 && job.from.stride == channels && job.to_stride == channels &&
                     (job.residual.data == nullptr || job.residual.stride == channels);
  if (dense) channels *= std::exchange(pixels, 1);
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    const std::int64_t from = pixel * job.from.stride;
    const std::int64_t residual = pixel * job.residual.stride;
    const std::int64_t to = pixel * job.repeat * job.to_stride;
    for (std::int64_t channel = 0; channel < channels; channel += kLanes) {
      const Lanes lanes = first_lanes(channels - channel);
      Floats value = activate<kActivation>(
          load<kFrom>(job.from.data, from + channel, lanes, from_grid), alpha);
      if (job.residual.data != nullptr) {
        const std::int64_t at = residual + channel;
        Floats other;
        switch (job.residual.type) {
          case DataType::kUint8:
            other = load<DataType::kUint8>(job.residual.data, at, lanes, residual_grid);
            break;
          case DataType::kFloat16:
            other = load<DataType::kFloat16>(job.residual.data, at, lanes, residual_grid);
            break;
          case DataType::kBfloat16:
            other = load<DataType::kBfloat16>(job.residual.data, at, lanes, residual_grid);
            break;
          default:
            other = load<DataType::kFloat32>(job.residual.data, at, lanes, residual_grid);
            break;
        }
        value = value + other;
      }
      store<kTo>(job.to, to + channel, lanes, to_grid, value);
      if (job.repeat == 2) {
        store<kTo>(job.to, to + job.to_stride + channel, lanes, to_grid, value);
        store<kTo>(job.to, to + job.to_row_stride + channel, lanes, to_grid, value);
        store<kTo>(job.to, to + job.to_row_stride + job.to_stride + channel, lanes, to_grid, value);
      }
    }
  }
}

template <DataType kFrom, DataType kTo>
void pointwise_types(const PointwiseJob& job) {
  switch (job.activation) {
    case Activation::kNone:
      return pointwise_loop<kFrom, kTo, Activation::kNone>(job);
    case Activation::kSilu:
      return pointwise_loop<kFrom, kTo, Activation::kSilu>(job);
    case Activation::kRelu:
      return pointwise_loop<kFrom, kTo, Activation::kRelu>(job);
    case Activation::kLeakyRelu:
      return pointwise_loop<kFrom, kTo, Activation::kLeakyRelu>(job);
    case Activation::kSigmoid:
      return pointwise_loop<kFrom, kTo, Activation::kSigmoid>(job);
    case Activation::kHardSwish:
      return pointwise_loop<kFrom, kTo, Activation::kHardSwish>(job);
  }
}

template <DataType kFrom>
void pointwise_from(const PointwiseJob& job) {
  switch (job.to_type) {
    case DataType::kUint8:
      return pointwise_types<kFrom, DataType::kUint8>(job);
    case DataType::kFloat16:
      return pointwise_types<kFrom, DataType::kFloat16>(job);
    case DataType::kBfloat16:
      return pointwise_types<kFrom, DataType::kBfloat16>(job);
    default:
      return pointwise_types<kFrom, DataType::kFloat32>(job);
  }
}

void pointwise(const PointwiseJob& job) {
  switch (job.from.type) {
    case DataType::kUint8:
      return pointwise_from<DataType::kUint8>(job);
    case DataType::kFloat16:
      return pointwise_from<DataType::kFloat16>(job);
    case DataType::kBfloat16:
      return pointwise_from<DataType::kBfloat16>(job);
    default:
      return pointwise_from<DataType::kFloat32>(job);
  }
}

// Loads, compares and stores one vector of each type.
struct MaximumOfBytes {
  using Element = std::uint8_t;
  static constexpr std::int64_t kLanes = kByteLanes;
  static ByteLanes lanes(std::int64_t count) { return first_bytes(count); }
  static Bytes load(ByteLanes lanes, const Element* at) { return load_bytes(at, lanes); }
  static Bytes larger(Bytes a, Bytes b) { return kernels::larger(a, b); }
  static void store(Element* at, ByteLanes lanes, Bytes v) { store_bytes(at, lanes, v); }
};
struct MaximumOfFloats {
  using Element = float;
  static constexpr std::int64_t kLanes = kernels::kLanes;
  static Lanes lanes(std::int64_t count) { return first_lanes(count); }
  static Floats load(Lanes lanes, const Element* at) { return load_floats(at, lanes); }
  static Floats larger(Floats a, Floats b) {
    return kernels::larger(b, a);
  }  // a wins a tie, as in the scalar form
  static void store(Element* at, Lanes lanes, Floats v) { store_floats(at, lanes, v); }
};
struct MaximumOfHalves {
  using Element = std::uint16_t;
  static constexpr std::int64_t kLanes = kernels::kLanes;
  static Lanes lanes(std::int64_t count) { return first_lanes(count); }
  static Floats load(Lanes lanes, const Element* at) { return load_halves(at, lanes); }
  static Floats larger(Floats a, Floats b) { return kernels::larger(b, a); }
  static void store(Element* at, Lanes lanes, Floats v) { store_halves(at, lanes, v); }
};

struct MaximumOfBfloats : MaximumOfHalves {
  static Floats load(Lanes lanes, const Element* at) { return load_bfloats(at, lanes); }
  static void store(Element* at, Lanes lanes, Floats v) { store_bfloats(at, lanes, v); }
};

template <class Type>
void maximum_of(const MaximumJob& job) {
  const auto* from = static_cast<const typename Type::Element*>(job.from);
  auto* to = static_cast<typename Type::Element*>(job.to);
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    for (std::int64_t channel = 0; channel < job.channels; channel += Type::kLanes) {
      const auto lanes = Type::lanes(job.channels - channel);
      const auto* candidate = from + pixel * job.from_stride + channel;
      auto best = Type::load(lanes, candidate);
      for (int k = 1; k < job.count; ++k) {
        candidate += job.step;
        best = Type::larger(best, Type::load(lanes, candidate));
      }
      Type::store(to + pixel * job.to_stride + channel, lanes, best);
    }
  }
}

void maximum(const MaximumJob& job) {
  switch (job.type) {
    case DataType::kUint8:
      return maximum_of<MaximumOfBytes>(job);
    case DataType::kFloat16:
      return maximum_of<MaximumOfHalves>(job);
    case DataType::kBfloat16:
      return maximum_of<MaximumOfBfloats>(job);
    default:
      return maximum_of<MaximumOfFloats>(job);
  }
}

template <DataType kFrom, DataType kTo>
void sum_loop(const SumJob& given) {
  const SumJob job = given;  // a copy, which no store can change
  const VectorGrid from_grid(job.from.grid);
  const VectorGrid to_grid(job.to_grid);
  const Floats factor = set(job.factor);
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    for (std::int64_t channel = 0; channel < job.channels; channel += kLanes) {
      const Lanes lanes = first_lanes(job.channels - channel);
      std::int64_t at = pixel * job.from.stride + channel;
      Floats value = load<kFrom>(job.from.data, at, lanes, from_grid);
      for (int k = 1; k < job.count; ++k) {
        at += job.step;
        value = value + load<kFrom>(job.from.data, at, lanes, from_grid);
      }
      store<kTo>(job.to, pixel * job.to_stride + channel, lanes, to_grid, value * factor);
    }
  }
}

template <DataType kFrom>
void sum_from(const SumJob& job) {
  switch (job.to_type) {
    case DataType::kUint8:
      return sum_loop<kFrom, DataType::kUint8>(job);
    case DataType::kFloat16:
      return sum_loop<kFrom, DataType::kFloat16>(job);
    case DataType::kBfloat16:
      return sum_loop<kFrom, DataType::kBfloat16>(job);
    default:
      return sum_loop<kFrom, DataType::kFloat32>(job);
  }
}

void sum(const SumJob& job) {
  switch (job.from.type) {
    case DataType::kUint8:
      return sum_from<DataType::kUint8>(job);
    case DataType::kFloat16:
      return sum_from<DataType::kFloat16>(job);
    case DataType::kBfloat16:
      return sum_from<DataType::kBfloat16>(job);
    default:
      return sum_from<DataType::kFloat32>(job);
  }
}

}  // namespace
}  // namespace fovea::engine::kernels
