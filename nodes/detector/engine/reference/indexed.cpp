// GatherND and ScatterND: rows of numbers name blocks of a tensor by their first indices.
#include <algorithm>
#include <vector>

#include <fmt/core.h>

#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::reference {

namespace {

// How rows of `depth` indices name blocks of `bytes` bytes of a tensor, `batch` axes apart.
struct Addressing {
  std::vector<std::int64_t> extents;  // of the axes that a row names
  std::int64_t depth = 0;
  std::int64_t bytes = 0;  // of one block
  std::int64_t rows = 0;   // for each element of the batch axes
  std::int64_t batches = 1;
  std::int64_t blocks = 1;  // for each element of the batch axes

  // The block of one row; an index outside its axis instead.
  Result<std::int64_t> block(const std::int64_t* row) const {
    std::int64_t block = 0;
    for (std::size_t i = 0; i < extents.size(); ++i) {
      const std::int64_t extent = extents[i];
      const std::int64_t index = row[i] < 0 ? row[i] + extent : row[i];
      if (index < 0 || index >= extent) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("index {} lies outside an axis of {}", row[i], extent));
      }
      block = block * extent + index;
    }
    return block;
  }
};

Addressing addressing_of(const Tensor& x, const Tensor& indices, std::size_t batch_dims) {
  Addressing a;
  a.depth = indices.dims.back();
  for (std::size_t i = 0; i < batch_dims; ++i) a.batches *= x.dims[i];
  a.bytes = static_cast<std::int64_t>(element_size(x.dtype));
  for (std::size_t i = batch_dims; i < x.dims.size(); ++i) {
    if (i < batch_dims + static_cast<std::size_t>(a.depth)) {
      a.extents.push_back(x.dims[i]);
      a.blocks *= x.dims[i];
    } else {
      a.bytes *= x.dims[i];
    }
  }
  a.rows = a.batches == 0 ? 0 : indices.size() / a.depth / a.batches;
  return a;
}

}  // namespace

Result<Kernel> prepare_gather_nd(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* indices = operands.inputs[1];
  Tensor* y = operands.outputs[0];
  const auto batch_dims = static_cast<std::size_t>(operands.layer->int_attribute("batch_dims", 0));
  return Kernel([=, a = addressing_of(*x, *indices, batch_dims)]() -> Result<> {
    const std::int64_t* row = indices->data<std::int64_t>();
    std::byte* out = y->bytes.data();
    for (std::int64_t batch = 0; batch < a.batches; ++batch) {
      const std::byte* from = x->bytes.data() + batch * a.blocks * a.bytes;
      for (std::int64_t i = 0; i < a.rows; ++i, row += a.depth) {
        FOVEA_ASSIGN(const std::int64_t block, a.block(row));
        out = std::copy_n(from + block * a.bytes, a.bytes, out);
      }
    }
    return {};
  });
}

// Of rows that name the same block the last one counts.
Result<Kernel> prepare_scatter_nd(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* indices = operands.inputs[1];
  const Tensor* updates = operands.inputs[2];
  Tensor* y = operands.outputs[0];
  return Kernel([=, a = addressing_of(*x, *indices, 0)]() -> Result<> {
    std::copy(x->bytes.begin(), x->bytes.end(), y->bytes.begin());
    const std::int64_t* row = indices->data<std::int64_t>();
    const std::byte* from = updates->bytes.data();
    for (std::int64_t i = 0; i < a.rows; ++i, row += a.depth, from += a.bytes) {
      FOVEA_ASSIGN(const std::int64_t block, a.block(row));
      std::copy_n(from, a.bytes, y->bytes.data() + block * a.bytes);
    }
    return {};
  });
}

}  // namespace fovea::engine::reference
