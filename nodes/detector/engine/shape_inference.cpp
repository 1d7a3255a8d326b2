// Our own shape inference: ONNX's library knows opsets up to 17 only, trusts extents from the file,
// and does not follow shape arithmetic as far as a dynamic export needs.
#include "nodes/detector/engine/shape_inference.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "nodes/detector/engine/geometry.hpp"
#include "nodes/detector/engine/reference/evaluate.hpp"

namespace fovea::engine {

namespace {

using Infos = std::vector<TensorInfo>;

// Contents are followed up to this many elements: anchors and shapes, not feature maps.
constexpr std::int64_t kMaxKnownElements = 1 << 18;

tl::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

// Checked access to the inputs of one layer.
class Inputs {
 public:
  Inputs(const Layer& layer, std::span<const TensorInfo* const> infos)
      : layer_(layer), infos_(infos) {}

  std::size_t size() const { return infos_.size(); }
  const TensorInfo* get(std::size_t index) const {
    return index < infos_.size() ? infos_[index] : nullptr;
  }
  const TensorInfo& operator[](std::size_t index) const { return *infos_[index]; }

  Result<> require(std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (get(i) == nullptr) return invalid(fmt::format("input {} of {} is missing", i, count));
    }
    return {};
  }
  Result<> require_type(std::size_t index, DataType dtype) const {
    const TensorInfo* info = get(index);
    if (info != nullptr && info->dtype != dtype) {
      return invalid(fmt::format("input {} is {}; it must be {}", index, to_string(info->dtype),
                                 to_string(dtype)));
    }
    return {};
  }
  Result<> require_rank(std::size_t index, std::size_t rank) const {
    const TensorInfo& info = infos_[index] != nullptr ? *infos_[index] : kEmpty;
    if (info.dims.size() != rank) {
      return invalid(
          fmt::format("input {} is {}; it must have {} axes", index, to_string(info.dims), rank));
    }
    return {};
  }
  // The contents of an i64 input that must be known; empty if it is absent.
  Result<std::vector<std::int64_t>> ints(std::size_t index) const {
    const TensorInfo* info = get(index);
    if (info == nullptr) return std::vector<std::int64_t>{};
    FOVEA_TRY(require_type(index, DataType::kInt64));
    if (info->known == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("input {} depends on the image's contents; shapes must not", index));
    }
    const auto* data = info->known->data<std::int64_t>();
    return std::vector<std::int64_t>(data, data + info->known->size());
  }
  Result<std::vector<float>> floats(std::size_t index) const {
    const TensorInfo* info = get(index);
    if (info == nullptr) return std::vector<float>{};
    FOVEA_TRY(require_type(index, DataType::kFloat32));
    if (info->known == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("input {} depends on the image's contents; it must not", index));
    }
    const auto* data = info->known->data<float>();
    return std::vector<float>(data, data + info->known->size());
  }

 private:
  static inline const TensorInfo kEmpty{};
  const Layer& layer_;
  std::span<const TensorInfo* const> infos_;
};

Infos one(DataType dtype, Dims dims) { return {TensorInfo{dtype, std::move(dims), nullptr}}; }

bool is_number(DataType dtype) { return dtype == DataType::kFloat32 || dtype == DataType::kInt64; }

Result<Infos> infer_float_unary(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_number_unary(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  if (!is_number(in[0].dtype)) {
    return invalid(
        fmt::format("input 0 is {}; it must be float32 or int64", to_string(in[0].dtype)));
  }
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_same(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_binary(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  if (!is_number(in[0].dtype) || in[0].dtype != in[1].dtype) {
    return invalid(fmt::format("the inputs are {} and {}; both must be float32 or both int64",
                               to_string(in[0].dtype), to_string(in[1].dtype)));
  }
  FOVEA_ASSIGN(Dims dims, broadcast_dims(in[0].dims, in[1].dims));
  return one(layer.op == OpType::kEqual ? DataType::kBool : in[0].dtype, std::move(dims));
}

Result<Infos> infer_where(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(3));
  FOVEA_TRY(in.require_type(0, DataType::kBool));
  FOVEA_TRY(in.require_type(2, in[1].dtype));
  FOVEA_ASSIGN(Dims dims, broadcast_dims(in[0].dims, in[1].dims));
  FOVEA_ASSIGN(dims, broadcast_dims(dims, in[2].dims));
  return one(in[1].dtype, std::move(dims));
}

Result<Infos> infer_clip(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  for (std::size_t i = 0; i < 3; ++i) {
    if (in.get(i) == nullptr) continue;
    FOVEA_TRY(in.require_type(i, in[0].dtype));
    if (i > 0 && volume(in[i].dims) != 1) {
      return invalid(fmt::format("bound {} is {}; it must be a scalar", i, to_string(in[i].dims)));
    }
  }
  if (!is_number(in[0].dtype)) return invalid("input 0 must be float32 or int64");
  return one(in[0].dtype, in[0].dims);
}

Result<Infos> infer_cast(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  const std::int64_t to = layer.int_attribute("to", -1);
  for (const DataType dtype : {DataType::kFloat32, DataType::kInt64, DataType::kBool}) {
    if (to == static_cast<std::int64_t>(dtype)) return one(dtype, in[0].dims);
  }
  return fail(ErrorCode::kUnsupported,
              fmt::format("to is {}; it must be float32, int64 or bool", to));
}

Result<Infos> infer_conv(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  for (std::size_t i = 0; i < 3; ++i) FOVEA_TRY(in.require_type(i, DataType::kFloat32));
  FOVEA_TRY(in.require_rank(0, 4));
  FOVEA_TRY(in.require_rank(1, 4));
  const Dims& x = in[0].dims;
  const Dims& w = in[1].dims;
  const bool transposed = layer.op == OpType::kConvTranspose;
  const std::int64_t group = layer.int_attribute("group", 1);
  // Conv weights are [out, in / group, kh, kw], ConvTranspose's [in, out / group, kh, kw].
  const std::int64_t w_in = transposed ? w[0] : w[1];
  if (group < 1 || group > kMaxElements || x[1] != (transposed ? w_in : w_in * group) ||
      w[0] % group != 0) {
    return invalid(fmt::format("weights {} in {} groups do not go with an input of {}",
                               to_string(w), group, to_string(x)));
  }
  const std::int64_t channels = transposed ? w[1] * group : w[0];
  if (in.get(2) != nullptr && in[2].dims != Dims{channels}) {
    return invalid(fmt::format("the bias is {}; it must be [{}]", to_string(in[2].dims), channels));
  }
  const auto kernel = layer.ints_attribute("kernel_shape", {w[2], w[3]});
  if (kernel != std::vector<std::int64_t>{w[2], w[3]}) {
    return invalid(
        fmt::format("kernel_shape is {} but the weights are {}", to_string(kernel), to_string(w)));
  }
  FOVEA_ASSIGN(const Window window, transposed
                                        ? resolve_transposed_window(layer, x[2], x[3], {w[2], w[3]})
                                        : resolve_window(layer, x[2], x[3], {w[2], w[3]}));
  return one(DataType::kFloat32, {x[0], channels, window[0].output, window[1].output});
}

Result<Infos> infer_pool(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_TRY(in.require_rank(0, 4));
  const auto kernel = layer.ints_attribute("kernel_shape", {});
  if (kernel.size() != 2) {
    return invalid(fmt::format("kernel_shape is {}; it must have 2 entries", to_string(kernel)));
  }
  const Dims& x = in[0].dims;
  FOVEA_ASSIGN(const Window window, resolve_window(layer, x[2], x[3], {kernel[0], kernel[1]}));
  for (const WindowAxis& axis : window) {
    if (axis.pad_begin >= (axis.kernel - 1) * axis.dilation + 1) {
      return invalid(fmt::format("padding {} is not smaller than the kernel", axis.pad_begin));
    }
  }
  return one(DataType::kFloat32, {x[0], x[1], window[0].output, window[1].output});
}

Result<Infos> infer_global_pool(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_TRY(in.require_rank(0, 4));
  if (in[0].dims[2] * in[0].dims[3] == 0) return invalid("the input is empty");
  return one(DataType::kFloat32, {in[0].dims[0], in[0].dims[1], 1, 1});
}

Result<Infos> infer_batch_normalization(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(5));
  if (in[0].dims.size() < 2) return invalid("the input must have a channel axis");
  for (std::size_t i = 0; i < 5; ++i) {
    FOVEA_TRY(in.require_type(i, DataType::kFloat32));
    if (i > 0 && in[i].dims != Dims{in[0].dims[1]}) {
      return invalid(
          fmt::format("input {} is {}; it must be [{}]", i, to_string(in[i].dims), in[0].dims[1]));
    }
  }
  return one(DataType::kFloat32, in[0].dims);
}

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
  std::int64_t sum = 0;
  for (const std::int64_t size : sizes) {
    if (size < 0 || size > extent) sum = kMaxElements + 1;
    sum = std::min(sum + std::max<std::int64_t>(size, 0), kMaxElements + 1);
  }
  if (static_cast<std::int64_t>(sizes.size()) != parts || sum != extent) {
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
  std::vector<std::int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  Dims dims;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (sorted.size() != rank || sorted[i] != static_cast<std::int64_t>(i)) {
      return invalid(fmt::format("perm is {}; it must order the {} axes", to_string(perm), rank));
    }
    dims.push_back(in[0].dims[static_cast<std::size_t>(perm[i])]);
  }
  if (perm.size() != rank) return invalid("perm must order every axis");
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

Result<Infos> infer_reduce_mean(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_ASSIGN(const auto axes, in.ints(1));
  const Dims& x = in[0].dims;
  if (axes.empty() && layer.int_attribute("noop_with_empty_axes", 0) != 0)
    return one(in[0].dtype, x);
  std::vector<bool> reduce(x.size(), axes.empty());
  for (const std::int64_t axis : axes) {
    FOVEA_ASSIGN(const std::size_t index, resolve_axis(axis, x.size()));
    reduce[index] = true;
  }
  const bool keep = layer.int_attribute("keepdims", 1) != 0;
  Dims dims;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (reduce[i] && x[i] == 0) return invalid("a mean over nothing has no value");
    if (!reduce[i]) {
      dims.push_back(x[i]);
    } else if (keep) {
      dims.push_back(1);
    }
  }
  return one(in[0].dtype, std::move(dims));
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

Result<Infos> infer_softmax(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kFloat32));
  FOVEA_TRY(resolve_axis(layer.int_attribute("axis", -1), in[0].dims.size()));
  return one(DataType::kFloat32, in[0].dims);
}

Result<Infos> infer_matmul(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  const Dims& a = in[0].dims;
  const Dims& b = in[1].dims;
  for (std::size_t i = 0; i < 2; ++i) FOVEA_TRY(in.require_type(i, DataType::kFloat32));
  if (a.size() < 2 || b.size() < 2 || a.back() != b[b.size() - 2]) {
    return invalid(fmt::format("{} and {} cannot be multiplied", to_string(a), to_string(b)));
  }
  FOVEA_ASSIGN(Dims dims,
               broadcast_dims(Dims(a.begin(), a.end() - 2), Dims(b.begin(), b.end() - 2)));
  dims.push_back(a[a.size() - 2]);
  dims.push_back(b.back());
  return one(DataType::kFloat32, std::move(dims));
}

Result<Infos> infer_gemm(const Layer& layer, const Inputs& in) {
  FOVEA_TRY(in.require(2));
  for (std::size_t i = 0; i < 3; ++i) FOVEA_TRY(in.require_type(i, DataType::kFloat32));
  for (std::size_t i = 0; i < 2; ++i) FOVEA_TRY(in.require_rank(i, 2));
  const bool trans_a = layer.int_attribute("transA", 0) != 0;
  const bool trans_b = layer.int_attribute("transB", 0) != 0;
  const Dims& a = in[0].dims;
  const Dims& b = in[1].dims;
  if (a[trans_a ? 0 : 1] != b[trans_b ? 1 : 0]) {
    return invalid(fmt::format("{} and {} cannot be multiplied", to_string(a), to_string(b)));
  }
  const Dims dims = {a[trans_a ? 1 : 0], b[trans_b ? 0 : 1]};
  if (in.get(2) != nullptr) {
    FOVEA_ASSIGN(const Dims with_c, broadcast_dims(dims, in[2].dims));
    if (with_c != dims)
      return invalid(
          fmt::format("C {} does not broadcast to {}", to_string(in[2].dims), to_string(dims)));
  }
  return one(DataType::kFloat32, dims);
}

Result<Infos> infer_image_input(const Layer&, const Inputs& in) {
  FOVEA_TRY(in.require(1));
  FOVEA_TRY(in.require_type(0, DataType::kUint8));
  FOVEA_TRY(in.require_rank(0, 4));
  const Dims& x = in[0].dims;
  return one(DataType::kFloat32, {x[0], x[3], x[1], x[2]});
}

Result<Infos> infer_op(const Layer& layer, const Inputs& in) {
  switch (layer.op) {
    case OpType::kAdd:
    case OpType::kDiv:
    case OpType::kEqual:
    case OpType::kMul:
    case OpType::kPow:
    case OpType::kSub:
      return infer_binary(layer, in);
    case OpType::kExp:
    case OpType::kFloor:
    case OpType::kHardSigmoid:
    case OpType::kHardSwish:
    case OpType::kLeakyRelu:
    case OpType::kRelu:
    case OpType::kSigmoid:
    case OpType::kSilu:
    case OpType::kSqrt:
    case OpType::kTanh:
      return infer_float_unary(layer, in);
    case OpType::kNeg:
      return infer_number_unary(layer, in);
    case OpType::kIdentity:
      return infer_same(layer, in);
    case OpType::kAveragePool:
    case OpType::kMaxPool:
      return infer_pool(layer, in);
    case OpType::kBatchNormalization:
      return infer_batch_normalization(layer, in);
    case OpType::kCast:
      return infer_cast(layer, in);
    case OpType::kClip:
      return infer_clip(layer, in);
    case OpType::kConcat:
      return infer_concat(layer, in);
    case OpType::kConstantOfShape:
      return infer_constant_of_shape(layer, in);
    case OpType::kConv:
    case OpType::kConvTranspose:
      return infer_conv(layer, in);
    case OpType::kExpand:
      return infer_expand(layer, in);
    case OpType::kFlatten:
      return infer_flatten(layer, in);
    case OpType::kGather:
      return infer_gather(layer, in);
    case OpType::kGemm:
      return infer_gemm(layer, in);
    case OpType::kGlobalAveragePool:
      return infer_global_pool(layer, in);
    case OpType::kMatMul:
      return infer_matmul(layer, in);
    case OpType::kPad:
      return infer_pad(layer, in);
    case OpType::kRange:
      return infer_range(layer, in);
    case OpType::kReduceMean:
      return infer_reduce_mean(layer, in);
    case OpType::kReshape:
      return infer_reshape(layer, in);
    case OpType::kResize:
      return infer_resize(layer, in);
    case OpType::kShape:
      return infer_shape(layer, in);
    case OpType::kSlice:
      return infer_slice(layer, in);
    case OpType::kSoftmax:
      return infer_softmax(layer, in);
    case OpType::kSplit:
      return infer_split(layer, in);
    case OpType::kSqueeze:
      return infer_squeeze(layer, in);
    case OpType::kTranspose:
      return infer_transpose(layer, in);
    case OpType::kUnsqueeze:
      return infer_unsqueeze(layer, in);
    case OpType::kWhere:
      return infer_where(layer, in);
    case OpType::kImageInput:
      return infer_image_input(layer, in);
  }
  return fail(ErrorCode::kInternal, "unknown operator");
}

}  // namespace

Result<std::vector<TensorInfo>> infer_layer(const Layer& layer,
                                            std::span<const TensorInfo* const> inputs) {
  FOVEA_ASSIGN(Infos outputs, infer_op(layer, Inputs(layer, inputs)));
  if (outputs.size() != layer.outputs.size()) {
    return invalid(
        fmt::format("it has {} outputs; it must have {}", layer.outputs.size(), outputs.size()));
  }
  for (const TensorInfo& output : outputs) {
    if (!checked_volume(output.dims)) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("an output would be {}; at most {} axes and {} elements are supported",
                      to_string(output.dims), kMaxRank, kMaxElements));
    }
  }
  return outputs;
}

Result<KnownValues> infer_known_values(NetworkDefinition& network, std::int64_t batch) {
  KnownValues known(network.values.size());
  for (std::size_t i = 0; i < known.size(); ++i) known[i] = network.values[i].constant;
  for (const ValueId id : network.inputs) {
    Value& input = network.value(id);
    if (!input.dims.empty() && input.dims[0] == -1) input.dims[0] = batch;
    if (!checked_volume(input.dims)) {
      return invalid(
          fmt::format("input '{}' is {}; every extent but the first must be known, and it may "
                      "have {} elements at most",
                      input.name, to_string(input.dims), kMaxElements));
    }
  }

  std::vector<TensorInfo> infos;
  std::vector<const TensorInfo*> inputs;
  for (const Layer& layer : network.layers) {
    infos.assign(layer.inputs.size(), {});
    inputs.assign(layer.inputs.size(), nullptr);
    bool all_known = true;
    for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
      const ValueId id = layer.inputs[i];
      if (id == kNoValue) continue;
      const Constant* contents = known[static_cast<std::size_t>(id)].get();
      infos[i] = {network.value(id).dtype, network.value(id).dims, contents};
      inputs[i] = &infos[i];
      all_known = all_known && contents != nullptr;
    }
    const std::string who = fmt::format("layer '{}' ({})", layer.name, to_string(layer.op));
    auto outputs = infer_layer(layer, inputs);
    if (!outputs) return fail(outputs.error().with_context(who));
    if (layer.residual != kNoValue && network.value(layer.residual).dims != outputs->front().dims) {
      return invalid(fmt::format("{}: the residual is {} but the output {}", who,
                                 to_string(network.value(layer.residual).dims),
                                 to_string(outputs->front().dims)));
    }
    bool small = true;
    for (std::size_t i = 0; i < outputs->size(); ++i) {
      Value& value = network.value(layer.outputs[i]);
      value.dtype = (*outputs)[i].dtype;
      value.dims = (*outputs)[i].dims;
      small = small && volume(value.dims) <= kMaxKnownElements;
    }
    // Shape knows its answer from extents alone.
    if (small && (layer.op == OpType::kShape || (all_known && layer.residual == kNoValue))) {
      auto contents = reference::evaluate_known(layer, inputs, *outputs);
      if (!contents) return fail(contents.error().with_context(who));
      for (std::size_t i = 0; i < contents->size(); ++i) {
        known[static_cast<std::size_t>(layer.outputs[i])] =
            std::make_shared<const Constant>(std::move((*contents)[i]));
      }
    }
  }
  return known;
}

Result<> infer_shapes(NetworkDefinition& network, std::int64_t batch) {
  if (batch < 1 || batch > kMaxElements) {
    return invalid(fmt::format("batch is {}; it must be 1..{}", batch, kMaxElements));
  }
  FOVEA_TRY(infer_known_values(network, batch));
  return {};
}

}  // namespace fovea::engine
