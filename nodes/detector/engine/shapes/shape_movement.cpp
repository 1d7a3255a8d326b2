// Shapes of operators that only move elements, and of those that make shapes.
#include <algorithm>
#include <cmath>

#include "nodes/detector/engine/shapes/geometry.hpp"
#include "nodes/detector/engine/shapes/shape_rules.hpp"

namespace fovea::engine::shapes {

Result<Infos> infer_concat(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(in.size()));
  FOVEA_TRY(in.require(1));
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(layer.int_attribute("axis", 0), in[0].dims.size()));
  Dims dims = in[0].dims;
  for (std::size_t i = 1; i < in.size(); ++i) {
    FOVEA_TRY(in.require_type(i, in[0].dtype));
    FOVEA_TRY(in.require_rank(i, dims.size()));
    for (std::size_t a = 0; a < dims.size(); ++a) {
      if (a == axis) {
        dims[a] += in[i].dims[a];
      } else if (in[i].dims[a] != dims[a]) {
        return invalid(fmt::format("input {} is {}; beside axis {} it must agree with {}", i,
                                   to_string(in[i].dims), axis, to_string(in[0].dims)));
      }
    }
  }
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_split(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_ASSIGN(const std::size_t axis,
               resolve_axis(layer.int_attribute("axis", 0), in[0].dims.size()));
  const std::int64_t extent = in[0].dims[axis];
  const auto parts = static_cast<std::int64_t>(layer.outputs.size());
  FOVEA_ASSIGN(std::vector<std::int64_t> sizes, in.ints(1));
  if (in.get(1) == nullptr) {
    // Equal parts; the last one may be shorter (opset 18).
    const std::int64_t part = (extent + parts - 1) / parts;
    for (std::int64_t i = 0; i < parts; ++i) sizes.push_back(std::min(part, extent - part * i));
  }
  std::int64_t rest = extent;
  bool fits = static_cast<std::int64_t>(sizes.size()) == parts;
  for (const std::int64_t size : sizes) {
    fits = fits && size >= 0 && size <= rest;
    if (fits) rest -= size;
  }
  if (!fits || rest != 0) {
    return invalid(fmt::format("sizes {} for {} outputs do not split an extent of {}",
                               to_string(sizes), parts, extent));
  }
  Infos out;
  for (const std::int64_t size : sizes) {
    out.push_back({in[0].dtype, in[0].dims, nullptr});
    out.back().dims[axis] = size;
  }
  return out;
}

Result<Infos> infer_slice(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(3));
  FOVEA_ASSIGN(const auto starts, in.ints(1));
  FOVEA_ASSIGN(const auto ends, in.ints(2));
  FOVEA_ASSIGN(const auto axes, in.ints(3));
  FOVEA_ASSIGN(const auto steps, in.ints(4));
  FOVEA_ASSIGN(const auto slice, resolve_slice(in[0].dims, starts, ends, axes, steps));
  Dims dims;
  for (const SliceAxis& axis : slice) dims.push_back(axis.count);
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_reshape(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_ASSIGN(const auto shape, in.ints(1));
  const bool allow_zero = layer.int_attribute("allowzero", 0) != 0;
  const std::int64_t elements = volume(in[0].dims);
  Dims dims;
  std::int64_t given = 1;
  std::ptrdiff_t rest = -1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    std::int64_t extent = shape[i];
    if (extent == 0 && !allow_zero) {
      if (i >= in[0].dims.size()) {
        return invalid(fmt::format("shape {} copies axis {}, which {} lacks", to_string(shape), i,
                                   to_string(in[0].dims)));
      }
      extent = in[0].dims[i];
    }
    if (extent == -1 && rest < 0) {
      rest = static_cast<std::ptrdiff_t>(i);
      dims.push_back(1);
      continue;
    }
    if (extent < 0 || extent > kMaxElements || (extent > 0 && given > kMaxElements / extent)) {
      return invalid(
          fmt::format("shape has {} at {}; the tensor is {}", extent, i, to_string(in[0].dims)));
    }
    given *= extent;
    dims.push_back(extent);
  }
  if (rest >= 0 && given > 0 && elements % given == 0) {
    dims[static_cast<std::size_t>(rest)] = elements / given;
    given = elements;
  }
  if (given != elements || (rest >= 0 && given == 0)) {
    return invalid(
        fmt::format("{} cannot be reshaped to {}", to_string(in[0].dims), to_string(shape)));
  }
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_flatten(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  const Dims& x = in[0].dims;
  const std::int64_t axis = layer.int_attribute("axis", 1);
  std::size_t split = x.size();
  if (axis != static_cast<std::int64_t>(x.size())) {
    FOVEA_ASSIGN(split, resolve_axis(axis, x.size()));
  }
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(split);
  return one(in[0].dtype, {volume(Dims(x.begin(), middle)), volume(Dims(middle, x.end()))});
}

Result<Infos> infer_transpose(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  const std::size_t rank = in[0].dims.size();
  std::vector<std::int64_t> perm = layer.ints_attribute("perm", {});
  if (perm.empty()) {
    for (std::size_t i = rank; i-- > 0;) perm.push_back(static_cast<std::int64_t>(i));
  }
  std::vector<bool> taken(rank, false);
  bool orders = perm.size() == rank;
  for (const std::int64_t axis : perm) {
    orders = orders && axis >= 0 && axis < static_cast<std::int64_t>(rank) &&
             !taken[static_cast<std::size_t>(axis)];
    if (orders) taken[static_cast<std::size_t>(axis)] = true;
  }
  if (!orders) {
    return invalid(fmt::format("perm is {}; it must order the {} axes", to_string(perm), rank));
  }
  Dims dims;
  for (const std::int64_t axis : perm) dims.push_back(in[0].dims[static_cast<std::size_t>(axis)]);
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_squeeze(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_ASSIGN(const auto axes, in.ints(1));
  const Dims& x = in[0].dims;
  std::vector<bool> drop(x.size(), false);
  for (const std::int64_t axis : axes) {
    FOVEA_ASSIGN(const std::size_t index, resolve_axis(axis, x.size()));
    if (x[index] != 1) return invalid(fmt::format("axis {} of {} is not 1", axis, to_string(x)));
    drop[index] = true;
  }
  Dims dims;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!(in.get(1) == nullptr ? x[i] == 1 : drop[i])) dims.push_back(x[i]);
  }
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_unsqueeze(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_ASSIGN(const auto axes, in.ints(1));
  const std::size_t rank = in[0].dims.size() + axes.size();
  if (rank > kMaxRank) return invalid(fmt::format("the result would have {} axes", rank));
  std::vector<bool> added(rank, false);
  for (const std::int64_t axis : axes) {
    FOVEA_ASSIGN(const std::size_t index, resolve_axis(axis, rank));
    if (added[index]) return invalid(fmt::format("axes {} name one axis twice", to_string(axes)));
    added[index] = true;
  }
  Dims dims;
  std::size_t next = 0;
  for (std::size_t i = 0; i < rank; ++i) dims.push_back(added[i] ? 1 : in[0].dims[next++]);
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_shape(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  const auto rank = static_cast<std::int64_t>(in[0].dims.size());
  const auto bound = [&](std::int64_t value) {
    return std::clamp(value < 0 ? value + rank : value, std::int64_t{0}, rank);
  };
  const std::int64_t start = bound(layer.int_attribute("start", 0));
  const std::int64_t end = bound(layer.int_attribute("end", rank));
  return one(DataType::kInt64, {std::max<std::int64_t>(0, end - start)});
}

Result<Infos> infer_gather(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_TRY(in.require_type(1, DataType::kInt64));
  const Dims& x = in[0].dims;
  FOVEA_ASSIGN(const std::size_t axis, resolve_axis(layer.int_attribute("axis", 0), x.size()));
  Dims dims(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(axis));
  dims.insert(dims.end(), in[1].dims.begin(), in[1].dims.end());
  dims.insert(dims.end(), x.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.end());
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_gather_elements(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_TRY(in.require_type(1, DataType::kInt64));
  const Dims& x = in[0].dims;
  const Dims& indices = in[1].dims;
  FOVEA_ASSIGN(const std::size_t axis, resolve_axis(layer.int_attribute("axis", 0), x.size()));
  bool fit = x.size() == indices.size();
  for (std::size_t i = 0; fit && i < x.size(); ++i) fit = i == axis || indices[i] <= x[i];
  if (!fit) {
    return invalid(fmt::format("indices of {} do not go with {} along axis {}", to_string(indices),
                               to_string(x), axis));
  }
  return one(in[0].dtype, indices);
}

// Indices are rows of `depth` numbers, one for each axis behind the first `batch_dims`.
Result<Infos> infer_gather_nd(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_TRY(in.require_type(1, DataType::kInt64));
  const Dims& x = in[0].dims;
  const Dims& indices = in[1].dims;
  const std::int64_t batch = layer.int_attribute("batch_dims", 0);
  const auto rank = static_cast<std::int64_t>(x.size());
  bool fit = !indices.empty() && batch >= 0 && batch < rank &&
             batch < static_cast<std::int64_t>(indices.size()) && indices.back() >= 1 &&
             batch + indices.back() <= rank;
  for (std::size_t i = 0; fit && i < static_cast<std::size_t>(batch); ++i) fit = x[i] == indices[i];
  if (!fit) {
    return invalid(fmt::format("indices of {} with batch_dims {} do not go with {}",
                               to_string(indices), batch, to_string(x)));
  }
  Dims dims(indices.begin(), indices.end() - 1);
  dims.insert(dims.end(), x.begin() + batch + indices.back(), x.end());
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_scatter_nd(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(3));
  FOVEA_TRY(in.require_type(1, DataType::kInt64));
  FOVEA_TRY(in.require_type(2, in[0].dtype));
  const Dims& x = in[0].dims;
  const Dims& indices = in[1].dims;
  if (indices.empty() || indices.back() < 1 ||
      indices.back() > static_cast<std::int64_t>(x.size())) {
    return invalid(
        fmt::format("indices of {} do not go with {}", to_string(indices), to_string(x)));
  }
  Dims updates(indices.begin(), indices.end() - 1);
  updates.insert(updates.end(), x.begin() + indices.back(), x.end());
  if (in[2].dims != updates) {
    return invalid(
        fmt::format("updates are {}; they must be {}", to_string(in[2].dims), to_string(updates)));
  }
  return one(in[0].dtype, x);
}

Result<Infos> infer_grid_sample(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  for (std::size_t i = 0; i < 2; ++i) {
    FOVEA_TRY(in.require_type(i, DataType::kFloat32));
    FOVEA_TRY(in.require_rank(i, 4));
  }
  const Dims& x = in[0].dims;
  const Dims& grid = in[1].dims;
  if (grid[0] != x[0] || grid[3] != 2 || x[2] < 1 || x[3] < 1) {
    return invalid(
        fmt::format("a grid of {} does not go with {}; it must be [{}, height, width, 2]",
                    to_string(grid), to_string(x), x[0]));
  }
  return one(DataType::kFloat32, {x[0], x[1], grid[1], grid[2]});
}

Result<Infos> infer_tile(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_ASSIGN(const auto repeats, in.ints(1));
  Dims dims = in[0].dims;
  if (repeats.size() != dims.size()) {
    return invalid(fmt::format("repeats {} must have one number for each axis of {}",
                               to_string(repeats), to_string(dims)));
  }
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (repeats[i] < 0 || repeats[i] > kMaxElements) {
      return invalid(fmt::format("repeats is {}", to_string(repeats)));
    }
    dims[i] *= repeats[i];
  }
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_expand(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_ASSIGN(const auto shape, in.ints(1));
  if (!checked_volume(shape))
    return invalid(fmt::format("shape {} is not valid", to_string(shape)));
  FOVEA_ASSIGN(Dims dims, broadcast_dims(in[0].dims, shape));
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_constant_of_shape(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  FOVEA_ASSIGN(Dims shape, in.ints(0));
  if (volume(in[1].dims) != 1) return invalid("the fill value must be one element");
  return one(in[1].dtype, std::move(shape));
}

Result<Infos> infer_range(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(3));
  double bounds[3];
  for (std::size_t i = 0; i < 3; ++i) {
    FOVEA_TRY(in.require_type(i, in[0].dtype));
    if (volume(in[i].dims) != 1) return invalid("start, limit and delta must be scalars");
    if (in[0].dtype == DataType::kInt64) {
      FOVEA_ASSIGN(const auto value, in.ints(i));
      bounds[i] = static_cast<double>(value[0]);
    } else {
      FOVEA_ASSIGN(const auto value, in.floats(i));
      bounds[i] = static_cast<double>(value[0]);
    }
  }
  const double count = std::ceil((bounds[1] - bounds[0]) / bounds[2]);
  if (!(count <= static_cast<double>(kMaxElements))) {
    return invalid(
        fmt::format("{}..{} by {} has no valid length", bounds[0], bounds[1], bounds[2]));
  }
  return one(in[0].dtype, {count > 0 ? static_cast<std::int64_t>(count) : 0});
}

Result<Infos> infer_pad(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  const std::string mode = layer.string_attribute("mode", "constant");
  if (mode != "constant") {
    return fail(ErrorCode::kUnsupported, fmt::format("mode is '{}'; it must be constant", mode));
  }
  FOVEA_ASSIGN(const auto pads, in.ints(1));
  const Dims& x = in[0].dims;
  if (in.get(2) != nullptr) {
    FOVEA_TRY(in.require_type(2, in[0].dtype));
    if (volume(in[2].dims) != 1) return invalid("the fill value must be one element");
  }
  if (in.get(3) != nullptr) return fail(ErrorCode::kUnsupported, "the axes input is not supported");
  if (pads.size() != 2 * x.size()) {
    return invalid(fmt::format("pads has {} entries; it must have {}", pads.size(), 2 * x.size()));
  }
  Dims dims = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (const std::int64_t pad : {pads[i], pads[i + x.size()]}) {
      if (pad < 0 || pad > kMaxElements)
        return invalid(fmt::format("pads has {}; it must be 0..{}", pad, kMaxElements));
      dims[i] += pad;
    }
  }
  return one(in[0].dtype, std::move(dims));
}

Result<Infos> infer_resize(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_ASSIGN(const auto scales, in.floats(2));
  FOVEA_ASSIGN(const auto sizes, in.ints(3));
  FOVEA_ASSIGN(ResizeGeometry geometry, resolve_resize(layer, in[0].dims, scales, sizes));
  return one(DataType::kFloat32, std::move(geometry.output));
}

Result<Infos> infer_image_input(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kUint8));
  FOVEA_TRY(in.require_rank(0, 4));
  const Dims& x = in[0].dims;
  return one(DataType::kFloat32, {x[0], x[3], x[1], x[2]});
}

}  // namespace fovea::engine::shapes
