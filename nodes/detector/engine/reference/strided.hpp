// Walks over tensors with any strides: what broadcasting, Transpose, Slice, Pad and Expand have in
// common.
#pragma once

#include <array>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine::reference {

// Per axis, right-aligned: a tensor of rank r uses the last r entries, leading extents are 1.
using Axes = std::array<std::int64_t, kMaxRank>;

struct Strided {
  std::int64_t base = 0;
  Axes strides{};
};

inline Axes extents_of(const Dims& dims) {
  Axes axes;
  axes.fill(1);
  for (std::size_t i = 0; i < dims.size(); ++i) axes[kMaxRank - dims.size() + i] = dims[i];
  return axes;
}

// Row-major strides of `dims`; axes of extent 1 get stride 0, so that they broadcast.
inline Strided dense(const Dims& dims) {
  Strided view;
  const Axes extents = extents_of(dims);
  std::int64_t stride = 1;
  for (std::size_t i = kMaxRank; i-- > 0;) {
    view.strides[i] = extents[i] == 1 ? 0 : stride;
    stride *= extents[i];
  }
  return view;
}

// Calls row(offsets) once per innermost row of `extents`: offsets[k] is where the row starts in
// view k.
template <std::size_t kViews, class Row>
void for_each_row(const Axes& extents, const std::array<Strided, kViews>& views, Row&& row) {
  for (const std::int64_t extent : extents) {
    if (extent == 0) return;
  }
  std::array<std::int64_t, kViews> offsets;
  for (std::size_t k = 0; k < kViews; ++k) offsets[k] = views[k].base;
  Axes index{};
  while (true) {
    row(offsets);
    std::size_t axis = kMaxRank - 1;
    do {
      if (axis == 0) return;
      --axis;
      ++index[axis];
      for (std::size_t k = 0; k < kViews; ++k) offsets[k] += views[k].strides[axis];
      if (index[axis] < extents[axis]) break;
      for (std::size_t k = 0; k < kViews; ++k) offsets[k] -= views[k].strides[axis] * extents[axis];
      index[axis] = 0;
    } while (true);
  }
}

}  // namespace fovea::engine::reference
