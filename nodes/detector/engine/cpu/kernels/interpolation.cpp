#include "nodes/detector/engine/cpu/kernels/interpolation.hpp"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/rows.hpp"

namespace fovea::engine::kernels {

namespace {

constexpr std::int64_t kTasksPerThread = 4;
constexpr std::int64_t kAlignFloats = 16;

std::int64_t aligned(std::int64_t floats) {
  return (floats + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
}

// out = a + fraction * (b - a), for `count` values.
void mix(const float* a, const float* b, float fraction, std::int64_t count,
         float* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = a[i] + fraction * (b[i] - a[i]);
}

class Interpolation final : public Kernel {
 public:
  Interpolation(const InterpolationSpec& spec, const CpuFeatures& features)
      : spec_(spec),
        rows_(best_rows(features)),
        source_floats_(aligned(spec.width * spec.channels)),
        result_floats_(aligned(out_width() * spec.channels)) {}

  std::string_view implementation() const override { return "rows"; }
  std::size_t scratch_bytes(int threads) const override {
    return static_cast<std::size_t>(threads * worker_floats()) * sizeof(float);
  }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t height = out_height();
    const std::int64_t tasks =
        pool.threads() == 1 ? 1 : std::min(height, pool.threads() * kTasksPerThread);
    pool.parallel_for(tasks, [&](std::int64_t task, int worker) {
      float* scratch = reinterpret_cast<float*>(arguments.scratch) + worker * worker_floats();
      SourceRows rows{{scratch, scratch + source_floats_}, {-1, -1}};
      float* mixed = scratch + 2 * source_floats_;
      float* result = mixed + source_floats_;
      for (std::int64_t y = task * height / tasks; y < (task + 1) * height / tasks; ++y) {
        write_row(arguments, y, rows, mixed, result);
      }
    });
  }

 private:
  // Two rows of the source as f32, pixels dense; -1: none yet.
  struct SourceRows {
    std::array<float*, 2> values;
    std::array<std::int64_t, 2> number;
  };

  std::int64_t out_height() const { return static_cast<std::int64_t>(spec_.rows.size()); }
  std::int64_t out_width() const { return static_cast<std::int64_t>(spec_.columns.size()); }
  std::int64_t worker_floats() const { return 3 * source_floats_ + result_floats_; }

  const float* source_row(const Arguments& arguments, std::int64_t number, std::int64_t keep,
                          SourceRows& rows) const {
    for (std::size_t i = 0; i < 2; ++i) {
      if (rows.number[i] == number) return rows.values[i];
    }
    const std::size_t place = rows.number[0] == keep ? 1 : 0;
    rows.number[place] = number;
    const std::int64_t offset = number * spec_.from.row_stride * element_bytes(spec_.from.type);
    PointwiseJob job;
    job.from = {static_cast<const std::byte*>(arguments.sources[0]) + offset,
                spec_.from.pixel_stride, spec_.from.type, spec_.from.grid};
    job.to = rows.values[place];
    job.to_stride = spec_.channels;
    job.pixels = spec_.width;
    job.channels = spec_.channels;
    rows_.pointwise(job);
    return rows.values[place];
  }

  void write_row(const Arguments& arguments, std::int64_t y, SourceRows& rows, float* mixed,
                 float* result) const {
    const InterpolationTap& tap = spec_.rows[static_cast<std::size_t>(y)];
    const float* line = source_row(arguments, tap.low, tap.high, rows);
    if (tap.fraction != 0) {
      mix(line, source_row(arguments, tap.high, tap.low, rows), tap.fraction,
          spec_.width * spec_.channels, mixed);
      line = mixed;
    }
    for (std::int64_t x = 0; x < out_width(); ++x) {
      const InterpolationTap& column = spec_.columns[static_cast<std::size_t>(x)];
      mix(line + column.low * spec_.channels, line + column.high * spec_.channels, column.fraction,
          spec_.channels, result + x * spec_.channels);
    }
    PointwiseJob job;
    job.from = {result, spec_.channels, DataType::kFloat32, {}};
    job.to = static_cast<std::byte*>(arguments.destinations[0]) +
             y * spec_.to.row_stride * element_bytes(spec_.to.type);
    job.to_stride = spec_.to.pixel_stride;
    job.to_type = spec_.to.type;
    job.to_grid = spec_.to.grid;
    job.pixels = out_width();
    job.channels = spec_.channels;
    rows_.pointwise(job);
  }

  InterpolationSpec spec_;
  RowFunctions rows_;
  std::int64_t source_floats_;
  std::int64_t result_floats_;
};

Result<> check_taps(std::string_view what, const std::vector<InterpolationTap>& taps,
                    std::int64_t extent) {
  const bool valid = !taps.empty() && std::all_of(taps.begin(), taps.end(), [&](const auto& tap) {
    return tap.low >= 0 && tap.low < extent && tap.high >= 0 && tap.high < extent &&
           tap.fraction >= 0 && tap.fraction <= 1;
  });
  if (valid) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("interpolation: {} of {} are none or outside the picture", what, extent));
}

}  // namespace

Result<std::unique_ptr<const Kernel>> create_interpolation(const InterpolationSpec& spec,
                                                           const CpuFeatures& features) {
  if (spec.height < 1 || spec.width < 1 || spec.channels < 1) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("interpolation of {} x {} x {}; all must be positive", spec.height,
                            spec.width, spec.channels));
  }
  FOVEA_TRY(check_taps("rows", spec.rows, spec.height));
  FOVEA_TRY(check_taps("columns", spec.columns, spec.width));
  FOVEA_TRY(check_surface("interpolation's source", spec.from, spec.channels));
  FOVEA_TRY(check_surface("interpolation's result", spec.to, spec.channels));
  return std::make_unique<const Interpolation>(spec, features);
}

}  // namespace fovea::engine::kernels
