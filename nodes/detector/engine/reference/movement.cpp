// Operators that only move elements or read extents; any element type.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/reference/operators.hpp"
#include "nodes/detector/engine/reference/strided.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"

namespace fovea::engine::reference {

namespace {

std::span<const std::int64_t> ints(const Tensor* tensor) {
  if (tensor == nullptr) return {};
  return {tensor->data<std::int64_t>(), static_cast<std::size_t>(tensor->size())};
}

// extents[...] elements from `x` at `source` to `y` at `target`; strides count elements.
Kernel copy_strided(const Tensor* x, const Strided& source, Tensor* y, const Strided& target,
                    const Axes& extents) {
  const auto bytes = static_cast<std::int64_t>(element_size(y->dtype));
  const std::array<Strided, 2> views = {source, target};
  return [=]() -> Result<> {
    constexpr std::size_t kInner = kMaxRank - 1;
    for_each_row(extents, views, [&](const std::array<std::int64_t, 2>& offsets) {
      const std::byte* in = x->bytes.data() + offsets[0] * bytes;
      std::byte* out = y->bytes.data() + offsets[1] * bytes;
      for (std::int64_t i = 0; i < extents[kInner]; ++i) {
        std::memcpy(out + i * views[1].strides[kInner] * bytes,
                    in + i * views[0].strides[kInner] * bytes, static_cast<std::size_t>(bytes));
      }
    });
    return {};
  };
}

// Sizes around an axis: a tensor is `outer` blocks of dims[axis] x `inner` bytes.
struct Blocks {
  std::int64_t outer = 1;
  std::int64_t inner = 1;
};

Blocks blocks_around(const Tensor& tensor, std::size_t axis) {
  Blocks blocks{1, static_cast<std::int64_t>(element_size(tensor.dtype))};
  for (std::size_t i = 0; i < tensor.dims.size(); ++i) {
    if (i < axis) blocks.outer *= tensor.dims[i];
    if (i > axis) blocks.inner *= tensor.dims[i];
  }
  return blocks;
}

}  // namespace

Result<Kernel> prepare_copy(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  return Kernel([=]() -> Result<> {
    std::copy(x->bytes.begin(), x->bytes.end(), y->bytes.begin());
    return {};
  });
}

Result<Kernel> prepare_shape(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const auto rank = static_cast<std::int64_t>(x->dims.size());
  std::int64_t start = operands.layer->int_attribute("start", 0);
  start = std::clamp<std::int64_t>(start < 0 ? start + rank : start, 0, rank);
  return Kernel([=]() -> Result<> {
    std::copy_n(x->dims.begin() + start, y->size(), y->data<std::int64_t>());
    return {};
  });
}

Result<Kernel> prepare_range(const Operands& operands) {
  const Tensor* start = operands.inputs[0];
  const Tensor* delta = operands.inputs[2];
  Tensor* y = operands.outputs[0];
  return Kernel([=]() -> Result<> {
    for (std::int64_t i = 0; i < y->size(); ++i) {
      if (y->dtype == DataType::kInt64) {
        const auto step = static_cast<std::uint64_t>(*delta->data<std::int64_t>());
        y->data<std::int64_t>()[i] =
            static_cast<std::int64_t>(static_cast<std::uint64_t>(*start->data<std::int64_t>()) +
                                      static_cast<std::uint64_t>(i) * step);
      } else {
        y->data<float>()[i] = *start->data<float>() + static_cast<float>(i) * *delta->data<float>();
      }
    }
    return {};
  });
}

Result<Kernel> prepare_broadcast(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  return copy_strided(x, dense(x->dims), y, dense(y->dims), extents_of(y->dims));
}

Result<Kernel> prepare_constant_of_shape(const Operands& operands) {
  const Tensor* value = operands.inputs[1];
  Tensor* y = operands.outputs[0];
  return copy_strided(value, Strided{}, y, dense(y->dims), extents_of(y->dims));
}

Result<Kernel> prepare_transpose(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const std::size_t rank = x->dims.size();
  const std::vector<std::int64_t> perm = operands.layer->ints_attribute("perm", {});
  const Strided in = dense(x->dims);
  const std::size_t lead = kMaxRank - rank;
  Strided source;
  for (std::size_t i = 0; i < rank; ++i) {
    const std::size_t from = perm.empty() ? rank - 1 - i : static_cast<std::size_t>(perm[i]);
    source.strides[lead + i] = in.strides[lead + from];
  }
  return copy_strided(x, source, y, dense(y->dims), extents_of(y->dims));
}

Result<Kernel> prepare_slice(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(const auto slice,
               resolve_slice(x->dims, ints(operands.inputs[1]), ints(operands.inputs[2]),
                             ints(operands.input(3)), ints(operands.input(4))));
  Strided source = dense(x->dims);
  const std::size_t lead = kMaxRank - slice.size();
  for (std::size_t i = 0; i < slice.size(); ++i) {
    source.base += slice[i].start * source.strides[lead + i];
    source.strides[lead + i] *= slice[i].step;
  }
  return copy_strided(x, source, y, dense(y->dims), extents_of(y->dims));
}

Result<Kernel> prepare_concat(const Operands& operands) {
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(operands.layer->int_attribute("axis", 0), y->dims.size()));
  const Blocks blocks = blocks_around(*y, axis);
  return Kernel([inputs = operands.inputs, y, axis, blocks]() -> Result<> {
    std::byte* out = y->bytes.data();
    for (std::int64_t i = 0; i < blocks.outer; ++i) {
      for (const Tensor* x : inputs) {
        const std::int64_t bytes = x->dims[axis] * blocks.inner;
        out = std::copy_n(x->bytes.data() + i * bytes, bytes, out);
      }
    }
    return {};
  });
}

Result<Kernel> prepare_split(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(operands.layer->int_attribute("axis", 0), x->dims.size()));
  const Blocks blocks = blocks_around(*x, axis);
  return Kernel([outputs = operands.outputs, x, axis, blocks]() -> Result<> {
    const std::byte* in = x->bytes.data();
    for (std::int64_t i = 0; i < blocks.outer; ++i) {
      for (Tensor* y : outputs) {
        const std::int64_t bytes = y->dims[axis] * blocks.inner;
        std::copy_n(in, bytes, y->bytes.data() + i * bytes);
        in += bytes;
      }
    }
    return {};
  });
}

Result<Kernel> prepare_pad(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* value = operands.input(2);
  Tensor* y = operands.outputs[0];
  const std::span<const std::int64_t> pads = ints(operands.inputs[1]);
  Strided target = dense(y->dims);
  const std::size_t rank = x->dims.size();
  for (std::size_t i = 0; i < rank; ++i) {
    target.base += pads[i] * target.strides[kMaxRank - rank + i];
  }
  Kernel copy = copy_strided(x, dense(x->dims), y, target, extents_of(x->dims));
  return Kernel([=]() -> Result<> {
    const std::size_t bytes = element_size(y->dtype);
    for (std::size_t at = 0; at < y->bytes.size(); at += bytes) {
      if (value != nullptr) {
        std::memcpy(y->bytes.data() + at, value->bytes.data(), bytes);
      } else {
        std::memset(y->bytes.data() + at, 0, bytes);
      }
    }
    return copy();
  });
}

Result<Kernel> prepare_gather(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* indices = operands.inputs[1];
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(operands.layer->int_attribute("axis", 0), x->dims.size()));
  const Blocks blocks = blocks_around(*x, axis);
  return Kernel([=]() -> Result<> {
    const std::int64_t extent = x->dims[axis];
    std::byte* out = y->bytes.data();
    for (std::int64_t i = 0; i < blocks.outer; ++i) {
      for (std::int64_t k = 0; k < indices->size(); ++k) {
        const std::int64_t index = indices->data<std::int64_t>()[k];
        if (index < -extent || index >= extent) {
          return fail(ErrorCode::kInvalidArgument,
                      fmt::format("index {} lies outside an axis of {}", index, extent));
        }
        const std::int64_t row = i * extent + (index < 0 ? index + extent : index);
        out = std::copy_n(x->bytes.data() + row * blocks.inner, blocks.inner, out);
      }
    }
    return {};
  });
}

Result<Kernel> prepare_gather_elements(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* indices = operands.inputs[1];
  Tensor* y = operands.outputs[0];
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(operands.layer->int_attribute("axis", 0), x->dims.size()));
  const std::size_t along = kMaxRank - x->dims.size() + axis;
  // Walks x as if its place along the axis were 0.
  std::array<Strided, 2> views = {dense(y->dims), dense(x->dims)};
  const std::int64_t stride = std::exchange(views[1].strides[along], 0);
  const Axes extents = extents_of(y->dims);
  const auto bytes = static_cast<std::int64_t>(element_size(y->dtype));
  return Kernel([=]() -> Result<> {
    constexpr std::size_t kInner = kMaxRank - 1;
    const std::int64_t extent = x->dims[axis];
    std::optional<std::int64_t> wrong;
    for_each_row(extents, views, [&](const std::array<std::int64_t, 2>& offsets) {
      for (std::int64_t i = 0; i < extents[kInner]; ++i) {
        const std::int64_t index = indices->data<std::int64_t>()[offsets[0] + i];
        if (index < -extent || index >= extent) {
          wrong = index;
          continue;
        }
        const std::int64_t from = offsets[1] + i * views[1].strides[kInner] +
                                  (index < 0 ? index + extent : index) * stride;
        std::memcpy(y->bytes.data() + (offsets[0] + i) * bytes, x->bytes.data() + from * bytes,
                    static_cast<std::size_t>(bytes));
      }
    });
    if (wrong) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("index {} lies outside an axis of {}", *wrong, extent));
    }
    return {};
  });
}

Result<Kernel> prepare_tile(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const Axes from = extents_of(x->dims);
  const Axes to = extents_of(y->dims);
  const auto bytes = static_cast<std::int64_t>(element_size(y->dtype));
  return Kernel([=]() -> Result<> {
    for (std::int64_t at = 0; at < y->size(); ++at) {
      std::int64_t rest = at;
      std::int64_t source = 0;
      std::int64_t stride = 1;
      for (std::size_t axis = kMaxRank; axis-- > 0;) {
        source += rest % to[axis] % from[axis] * stride;
        rest /= to[axis];
        stride *= from[axis];
      }
      std::memcpy(y->bytes.data() + at * bytes, x->bytes.data() + source * bytes,
                  static_cast<std::size_t>(bytes));
    }
    return {};
  });
}

Result<Kernel> prepare_image_input(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  Tensor* y = operands.outputs[0];
  const std::int64_t channels = y->dims[1];
  const std::int64_t plane = y->dims[2] * y->dims[3];
  return Kernel([=]() -> Result<> {
    for (std::int64_t n = 0; n < y->dims[0]; ++n) {
      const std::uint8_t* in = x->data<std::uint8_t>() + n * plane * channels;
      float* out = y->data<float>() + n * plane * channels;
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t p = 0; p < plane; ++p) {
          out[c * plane + p] = static_cast<float>(in[p * channels + c]);
        }
      }
    }
    return {};
  });
}

}  // namespace fovea::engine::reference
