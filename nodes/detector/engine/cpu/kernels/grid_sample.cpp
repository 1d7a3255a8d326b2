#include "nodes/detector/engine/cpu/kernels/grid_sample.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/tensor_rows.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::int64_t kTasksPerThread = 4;
constexpr std::int64_t kMinTaskElements = 4096;

// A place along one axis: two neighbouring pixels and how much each counts.
struct Taps {
  std::int64_t low = 0;
  std::int64_t high = 0;
  float low_weight = 0;
  float high_weight = 0;
};

class Axis {
 public:
  Axis(const GridSampleSpec& spec, std::int64_t extent)
      : extent_(extent),
        size_(static_cast<float>(extent)),
        nearest_(spec.nearest),
        padding_(spec.padding) {
    // place = at * factor + shift
    factor_ = spec.align_corners ? (size_ - 1) / 2 : size_ / 2;
    shift_ = (size_ - 1) / 2;
    low_edge_ = spec.align_corners ? 0.0F : -0.5F;
    span_ = spec.align_corners ? size_ - 1 : size_;
  }

  Taps taps(float at) const {
    float x = at * factor_ + shift_;
    if (nearest_) x = std::nearbyint(x);
    if (padding_ == SamplePadding::kReflection) x = reflected(x);
    if (padding_ != SamplePadding::kZeros) x = std::clamp(x, 0.0F, size_ - 1);
    if (!(x > -1 && x < size_)) return {};  // not a number, too
    const float low = std::floor(x);
    const auto index = static_cast<std::int64_t>(low);
    Taps taps{index, index + 1, 1 - (x - low), x - low};
    if (taps.low < 0) {
      taps.low = 0;
      taps.low_weight = 0;
    }
    if (taps.high >= extent_) {
      taps.high = extent_ - 1;
      taps.high_weight = 0;
    }
    return taps;
  }

 private:
  float reflected(float x) const {
    if (span_ <= 0) return 0;
    const float along = std::fabs(std::fmod(x - low_edge_, 2 * span_));
    return low_edge_ + (along > span_ ? 2 * span_ - along : along);
  }

  std::int64_t extent_;
  float size_;
  bool nearest_;
  SamplePadding padding_;
  float factor_ = 0;
  float shift_ = 0;
  float low_edge_ = 0;
  float span_ = 0;
};

class GridSample final : public Kernel {
 public:
  GridSample(const GridSampleSpec& spec, const TensorRowFunctions& rows)
      : spec_(spec), rows_(rows), x_(spec, spec.width), y_(spec, spec.height) {}

  std::string_view implementation() const override { return rows_.name; }
  std::size_t scratch_bytes(int /*threads*/) const override { return 0; }

  void run(const Arguments& arguments, cpu::ThreadPool& pool) const override {
    const std::int64_t pixels = spec_.batch * spec_.out_height * spec_.out_width;
    const std::int64_t tasks = pool.threads() == 1
                                   ? 1
                                   : std::clamp(pixels * spec_.channels / kMinTaskElements,
                                                std::int64_t{1}, pool.threads() * kTasksPerThread);
    pool.parallel_for(tasks, [&](std::int64_t task, int /*worker*/) {
      for (std::int64_t p = task * pixels / tasks; p < (task + 1) * pixels / tasks; ++p) {
        sample(arguments, p);
      }
    });
  }

 private:
  void sample(const Arguments& arguments, std::int64_t pixel) const {
    const std::int64_t column = pixel % spec_.out_width;
    const std::int64_t row = pixel / spec_.out_width % spec_.out_height;
    const std::int64_t item = pixel / spec_.out_width / spec_.out_height;
    const Dims& g = spec_.grid.strides;
    const float* at =
        static_cast<const float*>(arguments.sources[1]) + item * g[0] + row * g[1] + column * g[2];
    const Taps h = x_.taps(at[0]);
    const Taps v = y_.taps(at[g[3]]);
    const Dims& f = spec_.from.strides;
    const float* from = static_cast<const float*>(arguments.sources[0]) + item * f[0];
    const Dims& t = spec_.to.strides;
    BlendRow blend;
    blend.from = {from + v.low * f[2] + h.low * f[3], from + v.low * f[2] + h.high * f[3],
                  from + v.high * f[2] + h.low * f[3], from + v.high * f[2] + h.high * f[3]};
    blend.weights = {v.low_weight * h.low_weight, v.low_weight * h.high_weight,
                     v.high_weight * h.low_weight, v.high_weight * h.high_weight};
    blend.from_stride = f[1];
    blend.count = spec_.channels;
    blend.to =
        static_cast<float*>(arguments.destinations[0]) + item * t[0] + row * t[2] + column * t[3];
    blend.to_stride = t[1];
    rows_.blend(blend);
  }

  GridSampleSpec spec_;
  const TensorRowFunctions& rows_;
  Axis x_;
  Axis y_;
};

Result<> check(std::string_view what, const TensorView& view) {
  const bool good = view.type == DataType::kFloat32 && view.strides.size() == 4 &&
                    std::all_of(view.strides.begin(), view.strides.end(),
                                [](std::int64_t stride) { return stride >= 0; });
  if (good) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("{} is no f32 view of four axes", what));
}

}  // namespace

Result<std::unique_ptr<const Kernel>> create_grid_sample(const GridSampleSpec& spec,
                                                         const CpuFeatures& features) {
  for (const std::int64_t extent :
       {spec.batch, spec.channels, spec.height, spec.width, spec.out_height, spec.out_width}) {
    if (extent < 1 || extent > kMaxElements) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("an extent is {}; it must be 1..{}", extent, kMaxElements));
    }
  }
  FOVEA_TRY(check("from", spec.from));
  FOVEA_TRY(check("grid", spec.grid));
  FOVEA_TRY(check("to", spec.to));
  return std::make_unique<GridSample>(spec, best_tensor_rows(features));
}

}  // namespace fovea::engine::kernels
