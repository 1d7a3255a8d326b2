#include "nodes/detector/engine/cpu/kernels/movement.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/rows.hpp"
#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kMinTaskElements = 16384;  // some microseconds of copying
constexpr std::int64_t kTasksPerThread = 4;

// Tasks for `rows` rows of `elements` elements: enough to balance, none too small.
std::int64_t task_count(std::int64_t rows, std::int64_t elements, const cpu::ThreadPool& pool) {
  if (pool.threads() == 1) return 1;
  return std::min({rows, pool.threads() * kTasksPerThread, rows * elements / kMinTaskElements + 1});
}

const std::byte* at(const void* picture, const Surface& surface, std::int64_t row) {
  return static_cast<const std::byte*>(picture) +
         row * surface.row_stride * element_bytes(surface.type);
}
std::byte* at(void* picture, const Surface& surface, std::int64_t row) {
  return static_cast<std::byte*>(picture) + row * surface.row_stride * element_bytes(surface.type);
}

class Pointwise final : public Kernel {
 public:
  Pointwise(const PointwiseSpec& spec, const CpuFeatures& features)
      : spec_(spec), rows_(best_rows(features)) {
    const bool bytes = spec.from.type == DataType::kUint8 && spec.to.type == DataType::kUint8;
    const bool plain = spec.activation == Activation::kNone && !spec.addend;
    const bool same_grid = !bytes || spec.from.grid == spec.to.grid;
    if (plain && spec.from.type == spec.to.type && same_grid) {
      way_ = Way::kCopy;
    } else if (bytes && (!spec.addend || (spec.addend->type == DataType::kUint8 &&
                                          spec.addend->grid == spec.to.grid))) {
      way_ = Way::kTable;
      for (int code = 0; code < 256; ++code) {
        const float value =
            activate(spec.activation, spec.activation_alpha, dequantise(spec.from.grid, code));
        table_[static_cast<std::size_t>(code)] = quantise(spec.to.grid, value);
      }
    }
  }

  std::string_view implementation() const override {
    return way_ == Way::kCopy ? "copy" : way_ == Way::kTable ? "table" : rows_.name;
  }
  std::size_t scratch_bytes(int /*threads*/) const override { return 0; }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t tasks = task_count(spec_.height, spec_.width * spec_.channels, pool);
    pool.parallel_for(tasks, [&](std::int64_t task, int /*worker*/) {
      for (std::int64_t y = task * spec_.height / tasks; y < (task + 1) * spec_.height / tasks;
           ++y) {
        run_row(arguments, y);
      }
    });
  }

 private:
  enum class Way { kCopy, kTable, kFloat };

  void run_row(const Arguments& arguments, std::int64_t y) const {
    const std::byte* from = at(arguments.sources[0], spec_.from, y);
    const std::byte* addend = spec_.addend ? at(arguments.sources[1], *spec_.addend, y) : nullptr;
    std::byte* to = at(arguments.destinations[0], spec_.to, y * spec_.repeat);
    if (way_ == Way::kCopy) return copy_row(from, to);
    if (way_ == Way::kTable) {
      TableJob job;
      job.from = reinterpret_cast<const std::uint8_t*>(from);
      job.from_stride = spec_.from.pixel_stride;
      job.table = table_.data();
      job.residual = reinterpret_cast<const std::uint8_t*>(addend);
      job.residual_stride = spec_.addend ? spec_.addend->pixel_stride : 0;
      job.residual_zero_point = spec_.to.grid.zero_point;
      job.to = reinterpret_cast<std::uint8_t*>(to);
      job.to_stride = spec_.to.pixel_stride;
      job.to_row_stride = spec_.to.row_stride;
      job.repeat = spec_.repeat;
      job.pixels = spec_.width;
      job.channels = spec_.channels;
      return rows_.table(job);
    }
    PointwiseJob job;
    job.from = {from, spec_.from.pixel_stride, spec_.from.type, spec_.from.grid};
    if (spec_.addend) {
      job.residual = {addend, spec_.addend->pixel_stride, spec_.addend->type, spec_.addend->grid};
    }
    job.to = to;
    job.to_stride = spec_.to.pixel_stride;
    job.to_row_stride = spec_.to.row_stride;
    job.to_type = spec_.to.type;
    job.to_grid = spec_.to.grid;
    job.repeat = spec_.repeat;
    job.pixels = spec_.width;
    job.channels = spec_.channels;
    job.activation = spec_.activation;
    job.alpha = spec_.activation_alpha;
    rows_.pointwise(job);
  }

  void copy_row(const std::byte* from, std::byte* to) const {
    const std::int64_t element = element_bytes(spec_.to.type);
    const auto pixel = static_cast<std::size_t>(spec_.channels * element);
    if (spec_.repeat == 1 && spec_.from.pixel_stride == spec_.channels &&
        spec_.to.pixel_stride == spec_.channels) {
      std::memcpy(to, from, static_cast<std::size_t>(spec_.width) * pixel);
      return;
    }
    for (std::int64_t x = 0; x < spec_.width; ++x) {
      const std::byte* source = from + x * spec_.from.pixel_stride * element;
      for (int down = 0; down < spec_.repeat; ++down) {
        for (int right = 0; right < spec_.repeat; ++right) {
          const std::int64_t target =
              down * spec_.to.row_stride + (x * spec_.repeat + right) * spec_.to.pixel_stride;
          std::memcpy(to + target * element, source, pixel);
        }
      }
    }
  }

  PointwiseSpec spec_;
  RowFunctions rows_;
  Way way_ = Way::kFloat;
  std::array<std::uint8_t, 256> table_{};
};

// Rows first: the maximum of each column of the window's rows goes to scratch, then windows of
// columns.
class MaxPool final : public Kernel {
 public:
  MaxPool(const MaxPoolSpec& spec, const CpuFeatures& features)
      : spec_(spec), rows_(best_rows(features)) {}

  std::string_view implementation() const override { return rows_.name; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * worker_bytes());
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t work =
        spec_.in_width * spec_.channels * (spec_.kernel_height + spec_.kernel_width);
    const std::int64_t tasks = task_count(spec_.out_height, work, pool);
    pool.parallel_for(tasks, [&](std::int64_t task, int worker) {
      std::byte* scratch = arguments.scratch + worker * worker_bytes();
      for (std::int64_t y = task * spec_.out_height / tasks;
           y < (task + 1) * spec_.out_height / tasks; ++y) {
        run_row(arguments, y, scratch);
      }
    });
  }

 private:
  std::int64_t worker_bytes() const {
    constexpr std::int64_t kLine = 64;
    const std::int64_t bytes = spec_.in_width * spec_.channels * element_bytes(spec_.from.type);
    return (bytes + kLine - 1) / kLine * kLine;
  }

  void run_row(const Arguments& arguments, std::int64_t y, std::byte* columns) const {
    const std::int64_t element = element_bytes(spec_.from.type);
    const std::int64_t row = y * spec_.stride_height - spec_.pad_top;
    const std::int64_t first = std::max(row, std::int64_t{0});
    MaximumJob job;
    job.type = spec_.from.type;
    job.channels = spec_.channels;
    job.from = at(arguments.sources[0], spec_.from, first);
    job.from_stride = spec_.from.pixel_stride;
    job.step = spec_.from.row_stride;
    job.count = static_cast<int>(std::min(row + spec_.kernel_height, spec_.in_height) - first);
    job.to = columns;
    job.to_stride = spec_.channels;
    job.pixels = spec_.in_width;
    rows_.maximum(job);

    // Output pixels whose windows are whole go in one call, those at the edges one by one.
    job.step = spec_.channels;
    job.to_stride = spec_.to.pixel_stride;
    std::byte* to = at(arguments.destinations[0], spec_.to, y);
    for (std::int64_t x = 0; x < spec_.out_width; x += job.pixels) {
      const std::int64_t column = x * spec_.stride_width - spec_.pad_left;
      const std::int64_t begin = std::max(column, std::int64_t{0});
      const std::int64_t end = std::min(column + spec_.kernel_width, spec_.in_width);
      job.from = columns + begin * spec_.channels * element;
      job.from_stride = spec_.stride_width * spec_.channels;
      job.count = static_cast<int>(end - begin);
      job.pixels = 1;
      if (end - begin == spec_.kernel_width) {
        const std::int64_t more = (spec_.in_width - end) / spec_.stride_width;
        job.pixels = std::min(more + 1, spec_.out_width - x);
      }
      job.to = to + x * spec_.to.pixel_stride * element;
      rows_.maximum(job);
    }
  }

  MaxPoolSpec spec_;
  RowFunctions rows_;
};

// Rows first, as above: the sum of each column of the window's rows goes to scratch as f32.
class AveragePool final : public Kernel {
 public:
  AveragePool(const AveragePoolSpec& spec, const CpuFeatures& features)
      : pool_(spec.pool), spec_(spec), rows_(best_rows(features)) {}

  std::string_view implementation() const override { return rows_.name; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * worker_bytes());
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t work =
        pool_.in_width * pool_.channels * (pool_.kernel_height + pool_.kernel_width);
    const std::int64_t tasks = task_count(pool_.out_height, work, pool);
    pool.parallel_for(tasks, [&](std::int64_t task, int worker) {
      std::byte* scratch = arguments.scratch + worker * worker_bytes();
      for (std::int64_t y = task * pool_.out_height / tasks;
           y < (task + 1) * pool_.out_height / tasks; ++y) {
        run_row(arguments, y, reinterpret_cast<float*>(scratch));
      }
    });
  }

 private:
  // The positions of one window on one axis.
  struct Span {
    std::int64_t begin = 0;  // inside the picture
    std::int64_t end = 0;
    std::int64_t counted = 0;
  };
  Span span(std::int64_t first, std::int64_t kernel, std::int64_t in, std::int64_t pad_end) const {
    const std::int64_t begin = std::max(first, std::int64_t{0});
    const std::int64_t end = std::min(first + kernel, in);
    const std::int64_t padded = std::min(first + kernel, in + pad_end) - first;
    return {begin, end, spec_.count_padding ? padded : end - begin};
  }

  std::int64_t worker_bytes() const {
    constexpr std::int64_t kLine = 64;
    const auto bytes = pool_.in_width * pool_.channels * static_cast<std::int64_t>(sizeof(float));
    return (bytes + kLine - 1) / kLine * kLine;
  }

  void run_row(const Arguments& arguments, std::int64_t y, float* columns) const {
    const Span rows = span(y * pool_.stride_height - pool_.pad_top, pool_.kernel_height,
                           pool_.in_height, spec_.pad_bottom);
    SumJob job;
    job.from = {at(arguments.sources[0], pool_.from, rows.begin), pool_.from.pixel_stride,
                pool_.from.type, pool_.from.grid};
    job.step = pool_.from.row_stride;
    job.count = static_cast<int>(rows.end - rows.begin);
    job.to = columns;
    job.to_stride = pool_.channels;
    job.pixels = pool_.in_width;
    job.channels = pool_.channels;
    rows_.sum(job);

    job.step = pool_.channels;
    job.to_stride = pool_.to.pixel_stride;
    job.to_type = pool_.to.type;
    job.to_grid = pool_.to.grid;
    std::byte* to = at(arguments.destinations[0], pool_.to, y);
    for (std::int64_t x = 0; x < pool_.out_width; x += job.pixels) {
      const Span window = span(x * pool_.stride_width - pool_.pad_left, pool_.kernel_width,
                               pool_.in_width, spec_.pad_right);
      job.from = {columns + window.begin * pool_.channels,
                  pool_.stride_width * pool_.channels,
                  DataType::kFloat32,
                  {}};
      job.count = static_cast<int>(window.end - window.begin);
      job.factor = 1.0F / static_cast<float>(rows.counted * window.counted);
      job.pixels = 1;
      if (job.count == pool_.kernel_width) {
        const std::int64_t more = (pool_.in_width - window.end) / pool_.stride_width;
        job.pixels = std::min(more + 1, pool_.out_width - x);
      }
      job.to = to + x * pool_.to.pixel_stride * element_bytes(pool_.to.type);
      rows_.sum(job);
    }
  }

  const MaxPoolSpec pool_;
  const AveragePoolSpec spec_;
  RowFunctions rows_;
};

Result<> check_positive(std::string_view what, std::int64_t value) {
  if (value >= 1) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is {}; it must be at least 1", what, value));
}

// The last window must begin inside and the first must reach inside.
Result<> check_windows(std::string_view axis, std::int64_t in, std::int64_t out,
                       std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
  FOVEA_TRY(check_positive(fmt::format("in_{}", axis), in));
  FOVEA_TRY(check_positive(fmt::format("out_{}", axis), out));
  FOVEA_TRY(check_positive(fmt::format("kernel_{}", axis), kernel));
  FOVEA_TRY(check_positive(fmt::format("stride_{}", axis), stride));
  if (pad < 0 || pad >= kernel || (out - 1) * stride - pad >= in) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "a window of {} lies outside the picture: {} pixels, {} windows of {}, stride {}, "
            "padding {}",
            axis, in, out, kernel, stride, pad));
  }
  return {};
}

Result<> check_pool(const MaxPoolSpec& spec) {
  FOVEA_TRY(check_positive("channels", spec.channels));
  FOVEA_TRY(check_windows("height", spec.in_height, spec.out_height, spec.kernel_height,
                          spec.stride_height, spec.pad_top));
  FOVEA_TRY(check_windows("width", spec.in_width, spec.out_width, spec.kernel_width,
                          spec.stride_width, spec.pad_left));
  FOVEA_TRY(check_surface("from", spec.from, spec.channels));
  return check_surface("to", spec.to, spec.channels);
}

}  // namespace

Result<std::unique_ptr<const Kernel>> create_pointwise(const PointwiseSpec& spec,
                                                       const CpuFeatures& features) {
  FOVEA_TRY(check_positive("height", spec.height));
  FOVEA_TRY(check_positive("width", spec.width));
  FOVEA_TRY(check_positive("channels", spec.channels));
  FOVEA_TRY(check_surface("from", spec.from, spec.channels));
  FOVEA_TRY(check_surface("to", spec.to, spec.channels));
  if (spec.addend) FOVEA_TRY(check_surface("addend", *spec.addend, spec.channels));
  if (spec.repeat != 1 && spec.repeat != 2) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("repeat is {}; it must be 1 or 2", spec.repeat));
  }
  return std::make_unique<Pointwise>(spec, features);
}

Result<std::unique_ptr<const Kernel>> create_max_pool(const MaxPoolSpec& spec,
                                                      const CpuFeatures& features) {
  FOVEA_TRY(check_pool(spec));
  if (spec.from.type != spec.to.type ||
      (spec.from.type == DataType::kUint8 && spec.from.grid != spec.to.grid)) {
    return fail(ErrorCode::kInvalidArgument,
                "max pooling needs equal types and grids on both sides");
  }
  return std::make_unique<MaxPool>(spec, features);
}

Result<std::unique_ptr<const Kernel>> create_average_pool(const AveragePoolSpec& spec,
                                                          const CpuFeatures& features) {
  FOVEA_TRY(check_pool(spec.pool));
  if (spec.pad_bottom < 0 || spec.pad_right < 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the padding is {} below and {} to the right; it must be 0 or more",
                            spec.pad_bottom, spec.pad_right));
  }
  return std::make_unique<AveragePool>(spec, features);
}

void fill_border(void* picture, const Surface& surface, std::int64_t height, std::int64_t width,
                 std::int64_t channels, const Border& border) {
  const int zero = surface.type == DataType::kUint8 ? surface.grid.zero_point : 0;
  const std::int64_t element = element_bytes(surface.type);
  const auto fill = [&](std::int64_t y, std::int64_t first, std::int64_t end) {
    std::byte* row = at(picture, surface, y);
    for (std::int64_t x = first; x < end; ++x) {
      std::memset(row + x * surface.pixel_stride * element, zero,
                  static_cast<std::size_t>(channels * element));
    }
  };
  for (std::int64_t y = -border.top; y < height + border.bottom; ++y) {
    const bool outside = y < 0 || y >= height;
    fill(y, -border.left, outside ? width + border.right : 0);
    if (!outside) fill(y, width, width + border.right);
  }
}

}  // namespace fovea::engine::kernels
