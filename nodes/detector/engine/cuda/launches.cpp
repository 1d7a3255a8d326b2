#include "nodes/detector/engine/cuda/launches.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "nodes/detector/engine/cuda/convolution.hpp"
#include "nodes/detector/engine/cuda/layout.hpp"
#include "nodes/detector/engine/program/strides.hpp"

namespace fovea::engine::cuda {

namespace {

constexpr std::uint32_t kThreads = 128;
constexpr std::int64_t kConstantAlignment = 256;

std::uint32_t blocks_of(std::int64_t work, std::int64_t per_block) {
  return static_cast<std::uint32_t>((work + per_block - 1) / per_block);
}

std::int32_t to_int(std::int64_t value) { return static_cast<std::int32_t>(value); }

// Bytes from one pixel to the next.
std::int32_t pixel_bytes(const Tensor& picture) {
  return to_int(picture.strides[3] * size_of(picture.scalar));
}

// Of a picture's C, H, W.
std::int64_t channels(const Tensor& picture) { return picture.dims[1]; }

MapOperand operand(const Tensor& tensor) {
  MapOperand result{};
  result.image = tensor.image;
  result.scalar = tensor.scalar;
  return result;
}

template <class Arguments>
std::vector<std::byte> bytes_of(const Arguments& arguments) {
  std::vector<std::byte> bytes(sizeof arguments);
  std::memcpy(bytes.data(), &arguments, sizeof arguments);
  return bytes;
}

template <class T>
std::vector<std::byte> bytes_of_all(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

struct Axis {
  std::int64_t extent = 1;
  std::int64_t a = 0;
  std::int64_t b = 0;
  std::int64_t to = 0;
};

// Axes that lie as one in all operands become one.
std::vector<Axis> merged(const std::vector<Axis>& axes) {
  std::vector<Axis> result;
  for (const Axis& axis : axes) {
    if (axis.extent == 1) continue;
    if (!result.empty() && result.back().a == axis.a * axis.extent &&
        result.back().b == axis.b * axis.extent && result.back().to == axis.to * axis.extent) {
      result.back() = {result.back().extent * axis.extent, axis.a, axis.b, axis.to};
    } else {
      result.push_back(axis);
    }
  }
  return result;
}

}  // namespace

bool is_picture(const Tensor& tensor) {
  return tensor.dims.size() == 4 && tensor.dims[0] == 1 &&
         (tensor.dims[1] == 1 || tensor.strides[1] == 1) &&
         (tensor.dims[2] == 1 || tensor.strides[2] == tensor.dims[3] * tensor.strides[3]);
}

bool whole_vectors(const Tensor& tensor) {
  return tensor.scalar == Scalar::kHalf && tensor.address.offset % kVectorBytes == 0 &&
         tensor.image % kVectorBytes == 0 && pixel_bytes(tensor) % kVectorBytes == 0;
}

Address Launches::constant(std::vector<std::byte> bytes) {
  std::vector<std::byte>& all = program_.constants;
  all.resize((all.size() + kConstantAlignment - 1) / kConstantAlignment * kConstantAlignment);
  const auto offset = static_cast<std::int64_t>(all.size());
  all.insert(all.end(), bytes.begin(), bytes.end());
  return {Address::Space::kConstants, 0, offset};
}

Tensor Launches::constant(const Constant& values) {
  const auto* data = values.data<float>();
  return {constant(bytes_of_all(std::vector<float>(data, data + values.size()))), 0, Scalar::kFloat,
          values.dims, row_major(values.dims)};
}

void Launches::access(const Tensor& tensor, std::vector<Access>& accesses) {
  if (tensor.address.space != Address::Space::kArena) return;
  Access result{tensor.address.index, 0, std::numeric_limits<std::int64_t>::max()};
  if (is_picture(tensor)) {
    const std::int64_t pixel = std::max<std::int64_t>(1, pixel_bytes(tensor));
    result.first_lane = tensor.address.offset % pixel;
    result.end_lane = result.first_lane + channels(tensor) * size_of(tensor.scalar);
    // An offset beyond the first pixel, or lanes of another picture's pixels: all of it.
    if (tensor.address.offset >= pixel || result.end_lane > pixel) {
      result = {tensor.address.index, 0, std::numeric_limits<std::int64_t>::max()};
    }
  }
  accesses.push_back(result);
}

namespace {

// The address of a pointer member, whatever it points to.
template <class T>
const void* const* member(T* const& pointer) {
  return reinterpret_cast<const void* const*>(&pointer);
}

using Pointers = std::initializer_list<std::pair<const void* const*, Address>>;

// `pointers`: members of `arguments`.
template <class Arguments>
void point(Launch& launch, const Arguments& arguments, Pointers pointers) {
  const auto* base = reinterpret_cast<const std::byte*>(&arguments);
  for (const auto& [member, address] : pointers) {
    const auto at = reinterpret_cast<const std::byte*>(member) - base;
    launch.pointers.push_back({static_cast<std::size_t>(at), address});
  }
}

Choice& add_choice(Launch& launch, std::string kernel, std::uint32_t blocks,
                   std::uint32_t threads = kThreads) {
  Choice choice;
  choice.kernel = std::move(kernel);
  choice.grid[0] = blocks;
  choice.threads = threads;
  return launch.choices.emplace_back(std::move(choice));
}

}  // namespace

void Launches::convolution(const ConvolutionLaunch& spec) {
  const auto& [rows, columns] = spec.window;
  ConvolutionArguments a{};
  a.x_image = spec.x.image;
  a.y_image = spec.y.image;
  a.x_pixel = pixel_bytes(spec.x);
  a.y_pixel = pixel_bytes(spec.y);
  a.x_scalar = spec.x.scalar;
  a.y_scalar = spec.y.scalar;
  a.height = to_int(rows.input);
  a.width = to_int(columns.input);
  a.channels = to_int(channels(spec.x));
  a.out_height = to_int(rows.output);
  a.out_width = to_int(columns.output);
  a.out_channels = to_int(channels(spec.y));
  a.kernel_height = to_int(rows.kernel);
  a.kernel_width = to_int(columns.kernel);
  a.stride_y = to_int(rows.stride);
  a.stride_x = to_int(columns.stride);
  a.dilation_y = to_int(rows.dilation);
  a.dilation_x = to_int(columns.dilation);
  a.pad_top = to_int(rows.pad_begin);
  a.pad_left = to_int(columns.pad_begin);
  a.groups = to_int(spec.groups);
  a.activation = static_cast<Epilogue>(spec.layer->activation);
  a.alpha = spec.layer->activation_alpha;
  a.vectors = whole_vectors(spec.y) && a.out_channels % 8 == 0 ? 1 : 0;
  if (spec.residual) {
    a.residual_image = spec.residual->image;
    a.residual_pixel = pixel_bytes(*spec.residual);
    a.residual_scalar = spec.residual->scalar;
    if (!whole_vectors(*spec.residual)) a.vectors = 0;
  }
  if (is_row_convolution(a)) {
    a.width *= a.height;
    a.out_width *= a.out_height;
    a.height = a.out_height = 1;
  }

  Launch launch;
  launch.layer = spec.layer->name;
  launch.fused = spec.layer->fused;
  access(spec.x, launch.reads);
  if (spec.residual) access(*spec.residual, launch.reads);
  access(spec.y, launch.writes);
  point(launch, a,
        {{member(a.x), spec.x.address},
         {member(a.y), spec.y.address},
         {member(a.bias), constant(pack_bias(spec.bias, a.out_channels))}});
  if (spec.residual) point(launch, a, {{member(a.residual), spec.residual->address}});
  if (!stem(spec, launch, a) && !tensor_cores(spec, launch, a)) plain(spec, launch, a);
  program_.launches.push_back(std::move(launch));
}

bool Launches::stem(const ConvolutionLaunch& spec, Launch& launch, ConvolutionArguments& a) {
  constexpr std::int32_t kTileHeight = 8;
  constexpr std::int32_t kTileWidth = 16;
  const bool fits = a.x_scalar == Scalar::kByte && a.y_scalar == Scalar::kHalf && a.x_pixel == 3 &&
                    a.channels == 3 && a.groups == 1 && a.stride_y == 2 && a.stride_x == 2 &&
                    a.dilation_y == 1 && a.dilation_x == 1 && a.kernel_height == a.kernel_width &&
                    (a.kernel_height == 3 || a.kernel_height == 6) && !spec.residual;
  if (!fits) return false;
  StemWeights packed = pack_stem(spec.weights, a.out_channels, a.kernel_height);
  point(launch, a,
        {{member(a.weights), constant(std::move(packed.fragments))},
         {member(a.scales), constant(std::move(packed.scales))}});
  a.tiles_x = (a.out_width + kTileWidth - 1) / kTileWidth;
  const std::int32_t rows = (a.out_height + kTileHeight - 1) / kTileHeight;
  Choice& choice = add_choice(launch, fmt::format("stem_{}", a.kernel_height),
                              static_cast<std::uint32_t>(a.tiles_x * rows), 256);
  choice.arguments = bytes_of(a);
  return true;
}

bool Launches::tensor_cores(const ConvolutionLaunch& spec, Launch& launch,
                            ConvolutionArguments& a) {
  if (!whole_vectors(spec.x)) return false;
  std::vector<std::int64_t> batches = {1, options_.images};
  batches.erase(std::unique(batches.begin(), batches.end()), batches.end());
  for (const std::int64_t images : batches) {
    const auto fitting = fitting_variants(a, images, options_.limits);
    if (fitting.empty()) return false;
    const Variant& variant = *chosen_variant(fitting, options_.tactics, spec.layer->name, images);
    launch.choices.push_back(make_choice(variant, a, images));
  }
  point(launch, a,
        {{member(a.weights), constant(pack_fragments(spec.weights, a.out_channels, a.channels,
                                                     a.kernel_height * a.kernel_width))}});
  return true;
}

void Launches::plain(const ConvolutionLaunch& spec, Launch& launch, ConvolutionArguments& a) {
  const std::int64_t taps = std::int64_t{a.kernel_height} * a.kernel_width;
  const bool fast = a.x_scalar == Scalar::kHalf || a.y_scalar == Scalar::kHalf;
  const std::int64_t pixels = std::int64_t{a.out_height} * a.out_width;
  Address weights;
  if (spec.groups == a.channels && spec.groups == a.out_channels) {
    const bool vectors = a.vectors != 0 && whole_vectors(spec.x) && a.channels % 8 == 0;
    add_choice(launch,
               vectors ? "depthwise_vectors"
               : fast  ? "depthwise_fast"
                       : "depthwise_exact",
               blocks_of(pixels * (vectors ? a.channels / 8 : a.channels), kThreads));
    weights = constant(pack_depthwise(spec.weights, a.channels, taps));
  } else {
    constexpr std::int64_t kTile = 64;
    const bool tiled = spec.groups == 1 && a.channels >= 8;
    Choice& choice =
        tiled
            ? add_choice(launch, fast ? "tiles_fast" : "tiles_exact", blocks_of(pixels, kTile), 256)
            : add_choice(launch, fast ? "plain_fast" : "plain_exact", blocks_of(pixels, kThreads));
    choice.grid[1] = blocks_of(a.out_channels / spec.groups, tiled ? kTile : kPlainOutputs) *
                     static_cast<std::uint32_t>(spec.groups);
    weights = constant(
        pack_plain(spec.weights, a.out_channels, a.channels / spec.groups, taps, spec.groups));
    if (fast) {
      program_.declined.push_back(
          fmt::format("{}: the tensor cores' kernels take windows of 1x1 and 3x3, one group, f16 "
                      "in whole 16 bytes",
                      spec.layer->name));
    }
  }
  point(launch, a, {{member(a.weights), weights}});
  launch.choices.back().arguments = bytes_of(a);
}

void Launches::pool(const Layer& layer, const Window& window, bool average, bool count_padding,
                    const Tensor& x, const Tensor& y) {
  const auto& [rows, columns] = window;
  PoolArguments a{};
  a.x_image = x.image;
  a.y_image = y.image;
  a.x_pixel = pixel_bytes(x);
  a.y_pixel = pixel_bytes(y);
  a.height = to_int(rows.input);
  a.width = to_int(columns.input);
  a.channels = to_int(channels(x));
  a.out_height = to_int(rows.output);
  a.out_width = to_int(columns.output);
  a.kernel_height = to_int(rows.kernel);
  a.kernel_width = to_int(columns.kernel);
  a.stride_y = to_int(rows.stride);
  a.stride_x = to_int(columns.stride);
  a.pad_top = to_int(rows.pad_begin);
  a.pad_left = to_int(columns.pad_begin);
  a.average = average ? 1 : 0;
  a.count_padding = count_padding ? 1 : 0;
  a.scalar = x.scalar;
  const bool vectors = !average && whole_vectors(x) && whole_vectors(y) && a.channels % 8 == 0;
  Launch launch;
  launch.layer = layer.name;
  add_choice(launch, vectors ? "pool_vectors" : "pool_numbers",
             blocks_of(std::int64_t{a.out_height} * a.out_width * (a.channels / (vectors ? 8 : 1)),
                       kThreads))
      .arguments = bytes_of(a);
  access(x, launch.reads);
  access(y, launch.writes);
  point(launch, a, {{member(a.x), x.address}, {member(a.y), y.address}});
  program_.launches.push_back(std::move(launch));
}

void Launches::resize(const Layer& layer, const ResizeGeometry& geometry, const Tensor& x,
                      const Tensor& y) {
  ResizeArguments a{};
  a.x_image = x.image;
  a.y_image = y.image;
  a.x_pixel = pixel_bytes(x);
  a.y_pixel = pixel_bytes(y);
  a.height = to_int(x.dims[2]);
  a.width = to_int(x.dims[3]);
  a.channels = to_int(channels(x));
  a.out_height = to_int(y.dims[2]);
  a.out_width = to_int(y.dims[3]);
  a.scalar = x.scalar;
  a.linear = geometry.mode == ResizeGeometry::Mode::kLinear ? 1 : 0;
  const auto table = [&](std::size_t axis) {
    const std::int64_t extent = x.dims[axis];
    std::vector<float> positions;
    std::vector<std::int32_t> nearest;
    for (std::int64_t i = 0; i < y.dims[axis]; ++i) {
      positions.push_back(
          std::clamp(geometry.source(axis, i, extent), 0.0F, static_cast<float>(extent - 1)));
      nearest.push_back(to_int(geometry.nearest(axis, i, extent)));
    }
    const std::int64_t factor = y.dims[axis] / extent;
    bool whole = factor * extent == y.dims[axis];
    for (std::size_t i = 0; i < nearest.size() && whole; ++i) {
      whole = nearest[i] == to_int(static_cast<std::int64_t>(i) / factor);
    }
    return std::tuple(constant(a.linear != 0 ? bytes_of_all(positions) : bytes_of_all(nearest)),
                      whole ? to_int(factor) : 0);
  };
  const auto [rows, factor_y] = table(2);
  const auto [columns, factor_x] = table(3);
  a.whole = factor_y == factor_x ? factor_y : 0;
  const bool vectors = a.linear == 0 && whole_vectors(x) && whole_vectors(y) && a.channels % 8 == 0;
  Launch launch;
  launch.layer = layer.name;
  add_choice(launch, vectors ? "resize_vectors" : "resize_numbers",
             blocks_of(std::int64_t{a.out_height} * a.out_width * (a.channels / (vectors ? 8 : 1)),
                       kThreads))
      .arguments = bytes_of(a);
  access(x, launch.reads);
  access(y, launch.writes);
  point(launch, a,
        {{member(a.x), x.address},
         {member(a.y), y.address},
         {member(a.rows), rows},
         {member(a.columns), columns}});
  program_.launches.push_back(std::move(launch));
}

void Launches::map(const std::string& layer, MapOp op, const Tensor& a,
                   const std::optional<Tensor>& b, const Tensor& to, float alpha, float beta) {
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < to.dims.size(); ++i) {
    axes.push_back({to.dims[i], a.strides[i], b ? b->strides[i] : 0, to.strides[i]});
  }
  axes = merged(axes);
  // Threads side by side write side by side.
  std::stable_sort(axes.begin(), axes.end(),
                   [](const Axis& left, const Axis& right) { return left.to > right.to; });
  axes = merged(axes);
  MapArguments arguments{};
  arguments.a = operand(a);
  arguments.b = operand(b ? *b : a);
  arguments.to = operand(to);
  arguments.op = op;
  arguments.alpha = alpha;
  arguments.beta = beta;
  arguments.axes = to_int(static_cast<std::int64_t>(axes.size()));
  arguments.elements = volume(to.dims);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    arguments.extents[i] = to_int(axes[i].extent);
    arguments.a.strides[i] = to_int(axes[i].a);
    arguments.b.strides[i] = to_int(axes[i].b);
    arguments.to.strides[i] = to_int(axes[i].to);
  }
  Launch launch;
  launch.layer = layer;
  add_choice(launch, "map_elements", blocks_of(arguments.elements, kThreads)).arguments =
      bytes_of(arguments);
  access(a, launch.reads);
  if (b) access(*b, launch.reads);
  access(to, launch.writes);
  point(launch, arguments,
        {{member(arguments.a.data), a.address},
         {member(arguments.b.data), b ? b->address : a.address},
         {member(arguments.to.data), to.address}});
  program_.launches.push_back(std::move(launch));
}

void Launches::reduce(const std::string& layer, ReduceOp op, const Tensor& from, const Tensor& to,
                      const std::vector<std::size_t>& axes, std::optional<Address> scale,
                      std::optional<Address> offset, float epsilon) {
  ReduceArguments a{};
  a.from = operand(from);
  a.to = operand(to);
  a.op = op;
  a.epsilon = epsilon;
  a.rows = 1;
  a.row = 1;
  std::size_t next = 0;
  const auto append = [&](std::size_t axis, std::int32_t& product) {
    a.extents[next] = to_int(from.dims[axis]);
    a.from.strides[next] = to_int(from.strides[axis]);
    a.to.strides[next] = to_int(to.strides[axis]);
    product *= a.extents[next++];
  };
  for (std::size_t axis = 0; axis < from.dims.size(); ++axis) {
    if (std::find(axes.begin(), axes.end(), axis) == axes.end()) append(axis, a.rows);
  }
  a.outer_axes = to_int(static_cast<std::int64_t>(next));
  for (const std::size_t axis : axes) append(axis, a.row);
  a.reduced = to_int(static_cast<std::int64_t>(axes.size()));
  Launch launch;
  launch.layer = layer;
  add_choice(launch, "reduce_rows", static_cast<std::uint32_t>(a.rows)).arguments = bytes_of(a);
  access(from, launch.reads);
  access(to, launch.writes);
  point(launch, a, {{member(a.from.data), from.address}, {member(a.to.data), to.address}});
  if (scale) point(launch, a, {{member(a.scale), *scale}});
  if (offset) point(launch, a, {{member(a.offset), *offset}});
  program_.launches.push_back(std::move(launch));
}

void Launches::multiply(const std::string& layer, const Tensor& a, const Tensor& b,
                        const Tensor& to) {
  constexpr std::int64_t kTile = 64;
  MatMulArguments arguments{};
  arguments.a = operand(a);
  arguments.b = operand(b);
  arguments.to = operand(to);
  const std::size_t rank = to.dims.size();
  arguments.batch_axes = to_int(static_cast<std::int64_t>(rank) - 2);
  arguments.batches = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    arguments.a.strides[i] = to_int(a.strides[i]);
    arguments.b.strides[i] = to_int(b.strides[i]);
    arguments.to.strides[i] = to_int(to.strides[i]);
    if (i + 2 < rank) {
      arguments.batch_extents[i] = to_int(to.dims[i]);
      arguments.batches *= arguments.batch_extents[i];
    }
  }
  arguments.m = to_int(to.dims[rank - 2]);
  arguments.n = to_int(to.dims[rank - 1]);
  arguments.k = to_int(a.dims[rank - 1]);
  Launch launch;
  launch.layer = layer;
  Choice& choice = add_choice(launch, "multiply_matrices", blocks_of(arguments.n, kTile), 256);
  choice.grid[1] = blocks_of(arguments.m, kTile);
  choice.arguments = bytes_of(arguments);
  launch.z = static_cast<std::uint32_t>(arguments.batches);
  access(a, launch.reads);
  access(b, launch.reads);
  access(to, launch.writes);
  point(launch, arguments,
        {{member(arguments.a.data), a.address},
         {member(arguments.b.data), b.address},
         {member(arguments.to.data), to.address}});
  program_.launches.push_back(std::move(launch));
}

}  // namespace fovea::engine::cuda
