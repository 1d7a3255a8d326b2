// Products and reductions.
#include <algorithm>
#include <cmath>

#include "nodes/detector/engine/reference/operators.hpp"
#include "nodes/detector/engine/reference/strided.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::reference {

namespace {

// y[rows, columns] = sum over k of a * b, with any strides.
struct MatrixView {
  std::int64_t row = 0;
  std::int64_t column = 0;
};

void multiply(const float* a, MatrixView a_view, const float* b, MatrixView b_view, float* y,
              std::int64_t rows, std::int64_t columns, std::int64_t depth) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* out = y + r * columns;
    std::fill_n(out, columns, 0.0F);
    for (std::int64_t k = 0; k < depth; ++k) {
      const float factor = a[r * a_view.row + k * a_view.column];
      const float* in = b + k * b_view.row;
      for (std::int64_t c = 0; c < columns; ++c) out[c] += factor * in[c * b_view.column];
    }
  }
}

}  // namespace

Result<Kernel> prepare_matmul(const Operands& operands) {
  const Tensor* a = operands.inputs[0];
  const Tensor* b = operands.inputs[1];
  Tensor* y = operands.outputs[0];
  // A vector is a row on the left and a column on the right.
  Dims left = a->dims;
  Dims right = b->dims;
  Dims product = y->dims;
  if (left.size() == 1) {
    product.insert(product.end() - (right.size() == 1 ? 0 : 1), 1);
    left.insert(left.begin(), 1);
  }
  if (right.size() == 1) {
    product.push_back(1);
    right.push_back(1);
  }
  const std::int64_t rows = left[left.size() - 2];
  const std::int64_t depth = left.back();
  const std::int64_t columns = right.back();
  // The last two axes become one step of the walk over the (broadcast) leading ones.
  const auto leading = [](const Dims& all, std::int64_t matrix) {
    const Dims dims(all.begin(), all.end() - 2);
    Strided view = dense(dims);
    for (std::int64_t& stride : view.strides) stride *= matrix;
    return view;
  };
  const std::array<Strided, 3> views = {leading(product, rows * columns),
                                        leading(left, rows * depth),
                                        leading(right, depth * columns)};
  const Axes extents = extents_of(Dims(product.begin(), product.end() - 2));
  return Kernel([=]() -> Result<> {
    constexpr std::size_t kInner = kMaxRank - 1;
    for_each_row(extents, views, [&](const std::array<std::int64_t, 3>& offsets) {
      for (std::int64_t i = 0; i < extents[kInner]; ++i) {
        multiply(a->data<float>() + offsets[1] + i * views[1].strides[kInner], {depth, 1},
                 b->data<float>() + offsets[2] + i * views[2].strides[kInner], {columns, 1},
                 y->data<float>() + offsets[0] + i * views[0].strides[kInner], rows, columns,
                 depth);
      }
    });
    return {};
  });
}

Result<Kernel> prepare_gemm(const Operands& operands) {
  const Tensor* a = operands.inputs[0];
  const Tensor* b = operands.inputs[1];
  const Tensor* c = operands.input(2);
  Tensor* y = operands.outputs[0];
  const Layer& layer = *operands.layer;
  const bool trans_a = layer.int_attribute("transA", 0) != 0;
  const bool trans_b = layer.int_attribute("transB", 0) != 0;
  const float alpha = layer.float_attribute("alpha", 1.0F);
  const float beta = layer.float_attribute("beta", 1.0F);
  const MatrixView a_view = trans_a ? MatrixView{1, a->dims[1]} : MatrixView{a->dims[1], 1};
  const MatrixView b_view = trans_b ? MatrixView{1, b->dims[1]} : MatrixView{b->dims[1], 1};
  const std::int64_t depth = a->dims[trans_a ? 0 : 1];
  const Strided c_view = c != nullptr ? dense(c->dims) : Strided{};
  return Kernel([=]() -> Result<> {
    const std::int64_t rows = y->dims[0];
    const std::int64_t columns = y->dims[1];
    float* out = y->data<float>();
    multiply(a->data<float>(), a_view, b->data<float>(), b_view, out, rows, columns, depth);
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      out[i] *= alpha;
      if (c != nullptr) {
        out[i] += beta * c->data<float>()[i / columns * c_view.strides[kMaxRank - 2] +
                                          i % columns * c_view.strides[kMaxRank - 1]];
      }
    }
    return {};
  });
}

Result<Kernel> prepare_softmax(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(operands.layer->int_attribute("axis", -1), x->dims.size()));
  // Before opset 13 everything from the axis on is one vector.
  const bool flatten = operands.layer->int_attribute("flatten", 0) != 0;
  std::int64_t outer = 1;
  std::int64_t extent = 1;
  std::int64_t inner = 1;
  for (std::size_t i = 0; i < x->dims.size(); ++i) {
    (i < axis ? outer : i == axis || flatten ? extent : inner) *= x->dims[i];
  }
  return Kernel([=]() -> Result<> {
    if (extent == 0) return {};
    for (std::int64_t i = 0; i < outer * inner; ++i) {
      const std::int64_t start = i / inner * extent * inner + i % inner;
      const float* in = x->data<float>() + start;
      float* out = y->data<float>() + start;
      float largest = in[0];
      for (std::int64_t k = 1; k < extent; ++k) largest = std::max(largest, in[k * inner]);
      float sum = 0;
      for (std::int64_t k = 0; k < extent; ++k) {
        out[k * inner] = std::exp(in[k * inner] - largest);
        sum += out[k * inner];
      }
      for (std::int64_t k = 0; k < extent; ++k) out[k * inner] /= sum;
    }
    return {};
  });
}

}  // namespace fovea::engine::reference
