#include "tests/kernels/convolution_problem.hpp"

#include <cmath>

namespace fovea::kernel_test {
namespace {

constexpr Grid kInputGrid{0.04F, 13};
constexpr Grid kOutputGrid{0.03F, 9};
constexpr Grid kOtherGrid{0.05F, 6};
constexpr Grid kPreActivation{0.05F, -44};
constexpr std::size_t kLine = 64;

}  // namespace

std::string Variant::name() const {
  const auto type = [](DataType t) {
    return t == DataType::kUint8      ? "u8"
           : t == DataType::kFloat16  ? "f16"
           : t == DataType::kBfloat16 ? "bf16"
                                      : "f32";
  };
  std::string text = std::string(type(source)) + "_" + type(compute) + "_" + type(to);
  text += layout == Layout::kDense     ? "_dense"
          : layout == Layout::kScatter ? "_scatter"
                                       : "_residual";
  if (table) text += "_table";
  if (!physically_padded) text += "_unpadded";
  if (source_gap) text += "_gap";
  return text + "_activation" + std::to_string(static_cast<int>(activation));
}

ConvolutionProblem::ConvolutionProblem(const kernel_table::Convolution& shape,
                                       const Variant& variant, unsigned seed)
    : variant_(variant), random_(seed) {
  spec_.compute = variant.compute;
  spec_.in_channels = shape.in_channels;
  spec_.in_height = shape.in_height;
  spec_.in_width = shape.in_width;
  spec_.out_channels = shape.out_channels;
  spec_.out_height = shape.out_height();
  spec_.out_width = shape.out_width();
  spec_.kernel_height = spec_.kernel_width = shape.kernel;
  spec_.stride_height = spec_.stride_width = shape.stride;
  spec_.dilation_height = spec_.dilation_width = shape.dilation;
  spec_.pad_top = spec_.pad_left = shape.pad;
  spec_.groups = shape.groups;
  spec_.physically_padded = variant.physically_padded;
  spec_.activation = shape.activation ? variant.activation : Activation::kNone;
  spec_.activation_alpha = 0.1F;

  Border border;
  if (variant.physically_padded) border = {shape.pad, shape.pad, shape.pad, shape.pad};
  source_ =
      std::make_unique<Picture>(variant.source, shape.in_height, shape.in_width, shape.in_channels,
                                border, variant.source_gap ? 3 : 0, kInputGrid);
  source_->randomise(random_);
  spec_.source = source_->surface();
  source_addresses_.push_back(source_->data());

  const std::int64_t taps = shape.in_channels / shape.groups * shape.kernel * shape.kernel;
  const auto count = static_cast<std::size_t>(taps * shape.out_channels);
  std::normal_distribution<float> normal;
  if (variant.compute == DataType::kUint8) {
    std::uniform_int_distribution<int> weight(-128, 127);
    s8_weights_.resize(count);
    for (auto& w : s8_weights_) w = static_cast<std::int8_t>(weight(random_));
    // Pre-activations of about N(0, 1): codes have a deviation of 74 steps, weights of 73.
    weight_scales_.resize(static_cast<std::size_t>(shape.out_channels));
    for (float& scale : weight_scales_) {
      scale = std::exp(0.3F * normal(random_)) /
              (73 * 74 * kInputGrid.scale * std::sqrt(static_cast<float>(taps)));
    }
  } else {
    weights_.resize(count);
    for (float& w : weights_) w = normal(random_) / std::sqrt(static_cast<float>(taps));
  }
  bias_.resize(static_cast<std::size_t>(shape.out_channels));
  for (float& b : bias_) b = normal(random_) / 2;
  spec_.weights = weights_;
  spec_.s8_weights = s8_weights_;
  spec_.weight_scales = weight_scales_;
  spec_.bias = bias_;
  if (variant.table) spec_.pre_activation = kPreActivation;

  const std::int64_t channels = shape.out_channels;
  switch (variant.layout) {
    case Layout::kDense:
      add_destination(0, channels, 1, 0, false);
      break;
    case Layout::kResidual:
      add_destination(0, channels, 1, 5, true);
      break;
    case Layout::kScatter: {
      const std::int64_t half = (channels + 1) / 2;
      add_destination(0, half, 1, 16, false);
      if (channels > half) add_destination(half, channels - half, 1, 7, true);
      add_destination(0, half, 2, 3, false);
      break;
    }
  }
}

void ConvolutionProblem::add_destination(std::int64_t first, std::int64_t channels, int repeat,
                                         std::int64_t gap, bool residual) {
  const Grid grid = outputs_.size() == 1 ? kOtherGrid : kOutputGrid;
  outputs_.emplace_back(variant_.to, spec_.out_height * repeat, spec_.out_width * repeat, channels,
                        Border{1, 1, 1, 1}, gap, grid);
  engine::kernels::Destination destination;
  destination.surface = outputs_.back().surface();
  destination.first_channel = first;
  destination.channels = channels;
  destination.repeat = repeat;
  if (residual) {
    // A table adds codes, so its residual shares the grid; the exact epilogue takes any.
    const Grid residual_grid = variant_.table ? grid : kInputGrid;
    residuals_.emplace_back(variant_.to, spec_.out_height, spec_.out_width, channels, Border{}, 2,
                            residual_grid);
    residuals_.back().randomise(random_);
    destination.residual = residuals_.back().surface();
    source_addresses_.push_back(residuals_.back().data());
  }
  spec_.destinations.push_back(destination);
  destination_addresses_.push_back(outputs_.back().data());
}

void ConvolutionProblem::run(const Kernel& kernel, ThreadPool& pool) {
  scratch_.resize(kernel.scratch_bytes(pool.threads()) + kLine);
  const auto address = reinterpret_cast<std::uintptr_t>(scratch_.data());
  std::byte* aligned = scratch_.data() + (kLine - address % kLine) % kLine;
  kernel.run(
      {.sources = source_addresses_, .destinations = destination_addresses_, .scratch = aligned},
      pool);
}

void ConvolutionProblem::poison_outputs() {
  for (Picture& output : outputs_) output.poison();
}

}  // namespace fovea::kernel_test
