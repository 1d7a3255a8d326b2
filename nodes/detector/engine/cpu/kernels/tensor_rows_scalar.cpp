// The readable inner loops of the tensor operators: any CPU, the oracle of the others.
#include <algorithm>
#include <cmath>

#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"
#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"

namespace fovea::engine::kernels {
namespace {

float apply(MapOp op, float a, float b) {
  switch (op) {
    case MapOp::kCopy:
      return a;
    case MapOp::kSigmoid:
      return activate(Activation::kSigmoid, 0, a);
    case MapOp::kSilu:
      return activate(Activation::kSilu, 0, a);
    case MapOp::kRelu:
      return activate(Activation::kRelu, 0, a);
    case MapOp::kErf:
      return std::erf(a);
    case MapOp::kGelu:
      return a / 2 * (1 + std::erf(a * 0.70710678F));
    case MapOp::kAdd:
      return a + b;
    case MapOp::kSub:
      return a - b;
    case MapOp::kMul:
      return a * b;
    case MapOp::kDiv:
      return a / b;
  }
  return a;
}

void map(const MapRow& row) {
  for (std::int64_t i = 0; i < row.count; ++i) {
    const float a = load_element(row.a.data, row.a.type, row.a.grid, i * row.a.stride);
    const float b = is_binary(row.op)
                        ? load_element(row.b.data, row.b.type, row.b.grid, i * row.b.stride)
                        : 0.0F;
    store_element(row.to.data, row.to.type, row.to.grid, i * row.to.stride, apply(row.op, a, b));
  }
}

void softmax(float* row, std::int64_t count) {
  const float highest = *std::max_element(row, row + count);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    row[i] = std::exp(row[i] - highest);
    sum += static_cast<double>(row[i]);
  }
  for (std::int64_t i = 0; i < count; ++i) row[i] /= static_cast<float>(sum);
}

void multiply(const MatMulBlock& block) {
  for (std::int64_t r = 0; r < kMatMulRows; ++r) {
    for (std::int64_t c = 0; c < kMatMulColumns; ++c) {
      double sum = 0;
      for (std::int64_t k = 0; k < block.depth; ++k) {
        sum += static_cast<double>(block.a[k * kMatMulRows + r]) *
               static_cast<double>(block.b[k * kMatMulColumns + c]);
      }
      block.to[r * block.to_stride + c] = static_cast<float>(sum);
    }
  }
}

void normalize(const NormalizedRow& job) {
  double sum = 0;
  for (std::int64_t i = 0; i < job.count; ++i) sum += static_cast<double>(job.row[i]);
  const double mean = sum / static_cast<double>(job.count);
  double squares = 0;
  for (std::int64_t i = 0; i < job.count; ++i) {
    const double off = static_cast<double>(job.row[i]) - mean;
    squares += off * off;
  }
  const double variance = squares / static_cast<double>(job.count);
  const double factor = 1 / std::sqrt(variance + static_cast<double>(job.epsilon));
  for (std::int64_t i = 0; i < job.count; ++i) {
    const double value = (static_cast<double>(job.row[i]) - mean) * factor;
    job.row[i] =
        static_cast<float>(value) * job.scale[i] + (job.bias == nullptr ? 0.0F : job.bias[i]);
  }
}

void blend(const BlendRow& job) {
  for (std::int64_t i = 0; i < job.count; ++i) {
    float sum = 0;
    for (std::size_t k = 0; k < job.from.size(); ++k) {
      sum += job.weights[k] * job.from[k][i * job.from_stride];
    }
    job.to[i * job.to_stride] = sum;
  }
}

}  // namespace

const TensorRowFunctions& scalar_tensor_rows() {
  static constexpr TensorRowFunctions kRows{"scalar", map, softmax, multiply, normalize, blend};
  return kRows;
}

}  // namespace fovea::engine::kernels
