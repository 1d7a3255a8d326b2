// Operators that make one number of many, or choose among them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "nodes/detector/engine/reference/operators.hpp"
#include "nodes/detector/engine/reference/strided.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::reference {

namespace {

// A tensor seen as vectors along one axis.
struct Vectors {
  std::int64_t outer = 1;
  std::int64_t extent = 1;
  std::int64_t inner = 1;

  std::int64_t count() const { return outer * inner; }
  // Of the first element of vector i, whose others lie `inner` apart.
  std::int64_t start(std::int64_t i) const { return i / inner * extent * inner + i % inner; }
};

Vectors along(const Dims& dims, std::size_t axis) {
  Vectors vectors;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    (i < axis ? vectors.outer : i == axis ? vectors.extent : vectors.inner) *= dims[i];
  }
  return vectors;
}

// Not a number comes before every number, as in NumPy.
bool above(float a, float b) { return a > b || (std::isnan(a) && !std::isnan(b)); }

}  // namespace

Result<Kernel> prepare_reduce(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const Tensor* axes = operands.input(1);
  const OpType op = operands.layer->op;
  const bool none = axes == nullptr || axes->size() == 0;
  if (none && operands.layer->int_attribute("noop_with_empty_axes", 0) != 0)
    return prepare_copy(operands);
  // The output seen with the reduced axes kept, at stride 0: every input element adds to its place.
  Dims kept = x->dims;
  for (std::size_t i = 0; i < x->dims.size(); ++i) {
    bool reduce = none;
    for (std::int64_t k = 0; !none && k < axes->size(); ++k) {
      FOVEA_ASSIGN(const std::size_t axis,
                   resolve_axis(axes->data<std::int64_t>()[k], x->dims.size()));
      reduce = reduce || axis == i;
    }
    if (reduce) kept[i] = 1;
  }
  const std::array<Strided, 2> views = {dense(x->dims), dense(kept)};
  const Axes extents = extents_of(x->dims);
  if (x->dtype == DataType::kInt64) {
    const bool largest = op == OpType::kReduceMax;
    return Kernel([=]() -> Result<> {
      constexpr std::size_t kInner = kMaxRank - 1;
      auto* out = y->data<std::int64_t>();
      std::fill_n(out, y->size(), largest ? std::numeric_limits<std::int64_t>::min() : 0);
      for_each_row(extents, views, [&](const std::array<std::int64_t, 2>& offsets) {
        for (std::int64_t i = 0; i < extents[kInner]; ++i) {
          std::int64_t& result = out[offsets[1] + i * views[1].strides[kInner]];
          const std::int64_t value =
              x->data<std::int64_t>()[offsets[0] + i * views[0].strides[kInner]];
          // Wraps around, whatever a file asks for.
          result = largest ? std::max(result, value)
                           : static_cast<std::int64_t>(static_cast<std::uint64_t>(result) +
                                                       static_cast<std::uint64_t>(value));
        }
      });
      return {};
    });
  }
  const float count = static_cast<float>(volume(x->dims)) /
                      static_cast<float>(std::max<std::int64_t>(1, volume(kept)));
  return Kernel([=]() -> Result<> {
    constexpr std::size_t kInner = kMaxRank - 1;
    const bool largest = op == OpType::kReduceMax;
    float* out = y->data<float>();
    std::fill_n(out, y->size(), largest ? -std::numeric_limits<float>::infinity() : 0.0F);
    for_each_row(extents, views, [&](const std::array<std::int64_t, 2>& offsets) {
      for (std::int64_t i = 0; i < extents[kInner]; ++i) {
        float& result = out[offsets[1] + i * views[1].strides[kInner]];
        const float value = x->data<float>()[offsets[0] + i * views[0].strides[kInner]];
        if (largest) {
          if (above(value, result)) result = value;
        } else {
          result += op == OpType::kReduceL2 ? value * value : value;
        }
      }
    });
    for (std::int64_t i = 0; i < y->size(); ++i) {
      if (op == OpType::kReduceMean) out[i] /= count;
      if (op == OpType::kReduceL2) out[i] = std::sqrt(out[i]);
    }
    return {};
  });
}

Result<Kernel> prepare_layer_normalization(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* scale = operands.inputs[1];
  const Tensor* bias = operands.input(2);
  Tensor* y = operands.outputs[0];
  const float epsilon = operands.layer->float_attribute("epsilon", 1e-5F);
  const std::int64_t extent = scale->size();
  return Kernel([=]() -> Result<> {
    for (std::int64_t start = 0; start < x->size(); start += extent) {
      const float* in = x->data<float>() + start;
      float* out = y->data<float>() + start;
      const auto size = static_cast<float>(extent);
      const float mean = std::accumulate(in, in + extent, 0.0F) / size;
      float squares = 0;
      for (std::int64_t i = 0; i < extent; ++i) squares += (in[i] - mean) * (in[i] - mean);
      const float factor = 1 / std::sqrt(squares / size + epsilon);
      for (std::int64_t i = 0; i < extent; ++i) {
        out[i] = (in[i] - mean) * factor * scale->data<float>()[i] +
                 (bias == nullptr ? 0 : bias->data<float>()[i]);
      }
    }
    return {};
  });
}

Result<Kernel> prepare_arg_max(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(operands.layer->int_attribute("axis", 0), x->dims.size()));
  const Vectors vectors = along(x->dims, axis);
  return Kernel([=]() -> Result<> {
    for (std::int64_t i = 0; i < vectors.count(); ++i) {
      const float* in = x->data<float>() + vectors.start(i);
      std::int64_t best = 0;
      for (std::int64_t k = 1; k < vectors.extent; ++k) {
        if (above(in[k * vectors.inner], in[best * vectors.inner])) best = k;
      }
      y->data<std::int64_t>()[i] = best;
    }
    return {};
  });
}

// Sorted, also where that is not asked for; of equal numbers the first comes first.
Result<Kernel> prepare_top_k(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* values = operands.outputs[0];
  Tensor* indices = operands.outputs[1];
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(operands.layer->int_attribute("axis", -1), x->dims.size()));
  const bool largest = operands.layer->int_attribute("largest", 1) != 0;
  const Vectors from = along(x->dims, axis);
  const Vectors to = along(values->dims, axis);
  std::vector<std::int64_t> order(static_cast<std::size_t>(from.extent));
  return Kernel([=]() mutable -> Result<> {
    for (std::int64_t i = 0; i < from.count(); ++i) {
      const float* in = x->data<float>() + from.start(i);
      std::iota(order.begin(), order.end(), std::int64_t{0});
      const auto before = [&](std::int64_t a, std::int64_t b) {
        const float first = in[a * from.inner];
        const float second = in[b * from.inner];
        if (largest ? above(first, second) : above(second, first)) return true;
        if (largest ? above(second, first) : above(first, second)) return false;
        return a < b;
      };
      const auto chosen_end = order.begin() + to.extent;
      if (chosen_end != order.end()) {
        std::nth_element(order.begin(), chosen_end, order.end(), before);
      }
      std::sort(order.begin(), chosen_end, before);
      for (std::int64_t k = 0; k < to.extent; ++k) {
        const std::int64_t place = to.start(i) + k * to.inner;
        const std::int64_t chosen = order[static_cast<std::size_t>(k)];
        values->data<float>()[place] = in[chosen * from.inner];
        indices->data<std::int64_t>()[place] = chosen;
      }
    }
    return {};
  });
}

}  // namespace fovea::engine::reference
