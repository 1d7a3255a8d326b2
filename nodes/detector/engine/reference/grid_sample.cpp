// GridSample: every output pixel says where in the picture it is read, in -1..1 across the picture.
#include <algorithm>
#include <cmath>

#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine::reference {

namespace {

enum class Padding : std::uint8_t { kZeros, kBorder, kReflection };

struct Sampling {
  bool nearest = false;
  bool align_corners = false;  // -1 and 1 are the centres of the outer pixels, not their edges
  Padding padding = Padding::kZeros;

  // The place `at`, -1..1, among `extent` pixels, whose centres are whole numbers. Not a number
  // where `at` is none.
  float place(float at, std::int64_t extent) const {
    const auto size = static_cast<float>(extent);
    float x = align_corners ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
    if (nearest) x = std::nearbyint(x);
    if (padding == Padding::kReflection) x = reflected(x, size);
    if (padding != Padding::kZeros) x = std::clamp(x, 0.0F, size - 1);
    return x;
  }

 private:
  // Mirrored at the outer pixels' centres or edges, as often as it takes.
  float reflected(float x, float size) const {
    const float low = align_corners ? 0.0F : -0.5F;
    const float span = align_corners ? size - 1 : size;
    if (span <= 0) return 0;
    const float along = std::fabs(std::fmod(x - low, 2 * span));
    return low + (along > span ? 2 * span - along : along);
  }
};

Sampling sampling_of(const Layer& layer) {
  const std::string padding = layer.string_attribute("padding_mode", "zeros");
  Sampling sampling;
  sampling.nearest = layer.string_attribute("mode", "linear") == "nearest";
  sampling.align_corners = layer.int_attribute("align_corners", 0) != 0;
  if (padding == "border") sampling.padding = Padding::kBorder;
  if (padding == "reflection") sampling.padding = Padding::kReflection;
  return sampling;
}

// The two pixels of one axis around a place, and how much each counts; those outside count nothing.
struct Taps {
  std::int64_t index[2] = {0, 0};
  float weight[2] = {0, 0};
};

Taps taps_around(float x, std::int64_t extent) {
  Taps taps;
  if (!(x > -1 && x < static_cast<float>(extent))) return taps;
  const float low = std::floor(x);
  for (std::int64_t i = 0; i < 2; ++i) {
    const std::int64_t index = static_cast<std::int64_t>(low) + i;
    if (index < 0 || index >= extent) continue;
    taps.index[i] = index;
    taps.weight[i] = i == 0 ? 1 - (x - low) : x - low;
  }
  return taps;
}

}  // namespace

Result<Kernel> prepare_grid_sample(const Operands& operands) {
  const Tensor* x = operands.inputs[0];
  const Tensor* grid = operands.inputs[1];
  Tensor* y = operands.outputs[0];
  const Sampling sampling = sampling_of(*operands.layer);
  return Kernel([=]() -> Result<> {
    const std::int64_t height = x->dims[2];
    const std::int64_t width = x->dims[3];
    const std::int64_t channels = x->dims[1];
    const std::int64_t pixels = y->dims[2] * y->dims[3];
    for (std::int64_t n = 0; n < x->dims[0]; ++n) {
      for (std::int64_t p = 0; p < pixels; ++p) {
        const float* at = grid->data<float>() + (n * pixels + p) * 2;
        const Taps h = taps_around(sampling.place(at[0], width), width);
        const Taps v = taps_around(sampling.place(at[1], height), height);
        for (std::int64_t c = 0; c < channels; ++c) {
          const float* plane = x->data<float>() + (n * channels + c) * height * width;
          float sum = 0;
          for (std::int64_t i = 0; i < 2; ++i) {
            const float* row = plane + v.index[i] * width;
            sum += v.weight[i] * (h.weight[0] * row[h.index[0]] + h.weight[1] * row[h.index[1]]);
          }
          y->data<float>()[(n * channels + c) * pixels + p] = sum;
        }
      }
    }
    return {};
  });
}

}  // namespace fovea::engine::reference
