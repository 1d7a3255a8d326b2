// The readable form of every row function: runs everywhere, and is what the fast ones are tested
// against.
#include <algorithm>
#include <cmath>

#include "nodes/detector/engine/cpu/kernels/half.hpp"
#include "nodes/detector/engine/cpu/kernels/rows.hpp"
#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"

namespace fovea::engine::kernels {
namespace {

float load(const Pixels& pixels, std::int64_t pixel, std::int64_t channel) {
  return load_element(pixels.data, pixels.type, pixels.grid, pixel * pixels.stride + channel);
}

void pointwise(const PointwiseJob& job) {
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    for (std::int64_t channel = 0; channel < job.channels; ++channel) {
      float value = activate(job.activation, job.alpha, load(job.from, pixel, channel));
      if (job.residual.data != nullptr) value += load(job.residual, pixel, channel);
      for (int down = 0; down < job.repeat; ++down) {
        for (int right = 0; right < job.repeat; ++right) {
          const std::int64_t to =
              down * job.to_row_stride + (pixel * job.repeat + right) * job.to_stride + channel;
          store_element(job.to, job.to_type, job.to_grid, to, value);
        }
      }
    }
  }
}

void table(const TableJob& job) {
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    for (std::int64_t channel = 0; channel < job.channels; ++channel) {
      std::int32_t code = job.table[job.from[pixel * job.from_stride + channel]];
      if (job.residual != nullptr) {
        code += job.residual[pixel * job.residual_stride + channel] - job.residual_zero_point;
      }
      const auto stored = static_cast<std::uint8_t>(std::clamp(code, 0, 255));
      for (int down = 0; down < job.repeat; ++down) {
        for (int right = 0; right < job.repeat; ++right) {
          job.to[down * job.to_row_stride + (pixel * job.repeat + right) * job.to_stride +
                 channel] = stored;
        }
      }
    }
  }
}

template <class T, class Value>
void maximum_of(const MaximumJob& job, Value value) {
  const T* from = static_cast<const T*>(job.from);
  T* to = static_cast<T*>(job.to);
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    for (std::int64_t channel = 0; channel < job.channels; ++channel) {
      const T* candidate = from + pixel * job.from_stride + channel;
      T best = *candidate;
      for (int k = 1; k < job.count; ++k) {
        candidate += job.step;
        if (value(*candidate) > value(best)) best = *candidate;
      }
      to[pixel * job.to_stride + channel] = best;
    }
  }
}

void maximum(const MaximumJob& job) {
  switch (job.type) {
    case DataType::kUint8:
      return maximum_of<std::uint8_t>(job, [](std::uint8_t code) { return code; });
    case DataType::kFloat16:
      return maximum_of<std::uint16_t>(job, half_to_float);
    case DataType::kBfloat16:
      return maximum_of<std::uint16_t>(job, bfloat_to_float);
    default:
      return maximum_of<float>(job, [](float value) { return value; });
  }
}

void sum(const SumJob& job) {
  for (std::int64_t pixel = 0; pixel < job.pixels; ++pixel) {
    for (std::int64_t channel = 0; channel < job.channels; ++channel) {
      std::int64_t at = pixel * job.from.stride + channel;
      float value = load_element(job.from.data, job.from.type, job.from.grid, at);
      for (int k = 1; k < job.count; ++k) {
        at += job.step;
        value += load_element(job.from.data, job.from.type, job.from.grid, at);
      }
      store_element(job.to, job.to_type, job.to_grid, pixel * job.to_stride + channel,
                    value * job.factor);
    }
  }
}

}  // namespace

const RowFunctions& scalar_rows() {
  static constexpr RowFunctions kFunctions{"scalar", pointwise, table, maximum, sum};
  return kFunctions;
}

}  // namespace fovea::engine::kernels
