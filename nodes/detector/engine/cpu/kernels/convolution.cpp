#include "nodes/detector/engine/cpu/kernels/convolution.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"
#include "nodes/detector/engine/cpu/kernels/scalar_math.hpp"

namespace fovea::engine::kernels {
namespace {

constexpr std::string_view kScalar = "scalar";
constexpr std::int64_t kMaxExtent = 1 << 20;
constexpr std::int64_t kMaxKernel = 1 << 10;
// 255 * 128 * this fits 31 bits, so that neither sums nor their start values overflow.
constexpr std::int64_t kMaxIntegerTaps = (std::int64_t{1} << 30) / (255 * 128);

Result<> check_numbers(const ConvolutionSpec& spec) {
  const auto positive = [](std::string_view what, std::int64_t value,
                           std::int64_t most = kMaxExtent) -> Result<> {
    if (value >= 1 && value <= most) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is {}; it must be 1..{}", what, value, most));
  };
  FOVEA_TRY(positive("in_channels", spec.in_channels));
  FOVEA_TRY(positive("in_height", spec.in_height));
  FOVEA_TRY(positive("in_width", spec.in_width));
  FOVEA_TRY(positive("out_channels", spec.out_channels));
  FOVEA_TRY(positive("out_height", spec.out_height));
  FOVEA_TRY(positive("out_width", spec.out_width));
  FOVEA_TRY(positive("kernel_height", spec.kernel_height, kMaxKernel));
  FOVEA_TRY(positive("kernel_width", spec.kernel_width, kMaxKernel));
  FOVEA_TRY(positive("stride_height", spec.stride_height));
  FOVEA_TRY(positive("stride_width", spec.stride_width));
  FOVEA_TRY(positive("dilation_height", spec.dilation_height));
  FOVEA_TRY(positive("dilation_width", spec.dilation_width));
  FOVEA_TRY(positive("groups", spec.groups));
  if (spec.pad_top < 0 || spec.pad_left < 0) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("padding is ({}, {}); it must not be negative", spec.pad_top, spec.pad_left));
  }
  if (spec.in_channels % spec.groups != 0 || spec.out_channels % spec.groups != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("groups is {}; it must divide {} input and {} output channels",
                            spec.groups, spec.in_channels, spec.out_channels));
  }
  const std::int64_t taps = spec.in_channels / spec.groups * spec.kernel_height * spec.kernel_width;
  if (spec.compute == DataType::kUint8 && taps > kMaxIntegerTaps) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} taps could overflow a 32-bit sum; u8 computation takes up to {}",
                            taps, kMaxIntegerTaps));
  }
  return {};
}

Result<> check_constants(const ConvolutionSpec& spec) {
  const auto size = [](std::string_view what, std::size_t has, std::int64_t needs) -> Result<> {
    if (static_cast<std::int64_t>(has) == needs) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} elements; it must have {}", what, has, needs));
  };
  const bool integer = spec.compute == DataType::kUint8;
  const std::int64_t weights =
      spec.out_channels * (spec.in_channels / spec.groups) * spec.kernel_height * spec.kernel_width;
  FOVEA_TRY(size("weights", spec.weights.size(), integer ? 0 : weights));
  FOVEA_TRY(size("s8_weights", spec.s8_weights.size(), integer ? weights : 0));
  FOVEA_TRY(size("weight_scales", spec.weight_scales.size(), integer ? spec.out_channels : 0));
  if (!spec.bias.empty()) FOVEA_TRY(size("bias", spec.bias.size(), spec.out_channels));
  if (spec.pre_activation &&
      (!integer || !std::isnormal(spec.pre_activation->scale) || spec.pre_activation->scale < 0 ||
       spec.pre_activation->zero_point < -128 || spec.pre_activation->zero_point > 127)) {
    return fail(
        ErrorCode::kInvalidArgument,
        "pre_activation needs u8 computation, a positive scale and a zero point of -128..127");
  }
  return {};
}

Result<> check_destination(const ConvolutionSpec& spec, const Destination& destination,
                           std::size_t index) {
  const std::string what = fmt::format("destinations[{}]", index);
  FOVEA_TRY(check_surface(what + ".surface", destination.surface, destination.channels));
  if (destination.first_channel < 0 || destination.channels < 1 ||
      destination.first_channel + destination.channels > spec.out_channels) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} takes channels {}..{}; there are {}", what, destination.first_channel,
                    destination.first_channel + destination.channels, spec.out_channels));
  }
  if (destination.repeat != 1 && destination.repeat != 2) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}.repeat is {}; it must be 1 or 2", what, destination.repeat));
  }
  if (destination.residual) {
    FOVEA_TRY(check_surface(what + ".residual", *destination.residual, destination.channels));
  }
  if (spec.pre_activation && destination.surface.type != DataType::kUint8) {
    return fail(ErrorCode::kInvalidArgument,
                what + " is not u8, but a table epilogue writes nothing else");
  }
  if (spec.pre_activation && destination.residual &&
      (destination.residual->type != DataType::kUint8 ||
       destination.residual->grid != destination.surface.grid)) {
    return fail(ErrorCode::kInvalidArgument,
                what + ".residual is not u8 on the destination's grid, as a table epilogue needs");
  }
  return {};
}

Result<> check(const ConvolutionSpec& spec) {
  if (spec.compute != DataType::kFloat32 && spec.compute != DataType::kFloat16 &&
      spec.compute != DataType::kBfloat16 && spec.compute != DataType::kUint8) {
    return fail(ErrorCode::kInvalidArgument, "compute must be f32, f16, bf16 or u8");
  }
  FOVEA_TRY(check_numbers(spec));
  FOVEA_TRY(check_surface("source", spec.source, spec.in_channels));
  if (spec.compute == DataType::kUint8 && spec.source.type != DataType::kUint8) {
    return fail(ErrorCode::kInvalidArgument, "u8 computation needs a u8 source; quantise it first");
  }
  FOVEA_TRY(check_constants(spec));
  if (spec.destinations.empty()) return fail(ErrorCode::kInvalidArgument, "destinations is empty");
  for (std::size_t i = 0; i < spec.destinations.size(); ++i) {
    FOVEA_TRY(check_destination(spec, spec.destinations[i], i));
  }
  return {};
}

// bf16 that no tiles of its own fit, as f32: pixels are widened while rows are staged, weights
// rounded in `weights`. REQUIRES: bf16 computation.
ConvolutionSpec widened(ConvolutionSpec spec, std::vector<float>& weights) {
  spec.compute = DataType::kFloat32;
  for (const float weight : spec.weights) {
    weights.push_back(rounded_to(DataType::kBfloat16, weight));
  }
  spec.weights = weights;
  spec.forms = nullptr;  // whose f32 weights are not rounded
  return spec;
}

// Those for the spec's type that are rivals, best first.
std::vector<const TileImplementation*> candidates(const ConvolutionSpec& spec,
                                                  const CpuFeatures& features) {
  std::vector<const TileImplementation*> all;
  int steps = 0;  // of the best that the CPU has
  for (const TileImplementation& implementation : tile_implementations()) {
    if (implementation.compute != spec.compute || implementation.steps < steps) continue;
    if (features.*implementation.needs) steps = std::max(steps, implementation.steps);
    all.push_back(&implementation);
  }
  return all;
}

}  // namespace

bool windows_leave_picture(const ConvolutionSpec& spec) {
  const std::int64_t bottom = (spec.out_height - 1) * spec.stride_height - spec.pad_top +
                              (spec.kernel_height - 1) * spec.dilation_height;
  const std::int64_t right = (spec.out_width - 1) * spec.stride_width - spec.pad_left +
                             (spec.kernel_width - 1) * spec.dilation_width;
  return spec.pad_top > 0 || spec.pad_left > 0 || bottom >= spec.in_height ||
         right >= spec.in_width;
}

std::array<std::uint8_t, 256> activation_table(
    const Grid& pre_activation, Activation activation, float alpha, const Grid& to,
    const std::optional<std::array<float, 2>>& end_values) {
  std::array<std::uint8_t, 256> table{};
  for (int code = -128; code < 128; ++code) {
    const float centre = dequantise(pre_activation, code);
    table[static_cast<std::uint8_t>(code)] = quantise(to, activate(activation, alpha, centre));
  }
  if (end_values) {
    table[static_cast<std::uint8_t>(-128)] = quantise(to, end_values->front());
    table[127] = quantise(to, end_values->back());
  }
  return table;
}

Folded fold(const ConvolutionSpec& spec, const PixelOffset& offset) {
  const auto channels = static_cast<std::size_t>(spec.out_channels);
  Folded folded{std::vector<std::int32_t>(channels, 0), std::vector<float>(channels, 1.0F),
                std::vector<float>(channels, 0.0F)};
  if (!spec.bias.empty()) folded.bias.assign(spec.bias.begin(), spec.bias.end());
  if (spec.compute != DataType::kUint8) return folded;
  const std::size_t per_channel = spec.s8_weights.size() / channels;
  for (std::size_t c = 0; c < channels; ++c) {
    for (const std::int8_t weight : spec.s8_weights.subspan(c * per_channel, per_channel)) {
      const int subtracted = weight < 0 ? offset.of_negative : offset.of_positive;
      folded.start[c] += (subtracted - spec.source.grid.zero_point) * weight;
    }
    folded.scale[c] = spec.source.grid.scale * spec.weight_scales[c];
    if (spec.pre_activation) {
      folded.scale[c] /= spec.pre_activation->scale;
      folded.bias[c] = folded.bias[c] / spec.pre_activation->scale +
                       static_cast<float>(spec.pre_activation->zero_point);
    }
  }
  return folded;
}

Finisher::Finisher(const ConvolutionSpec& spec, const RowFunctions& rows)
    : rows_(rows),
      activation_(spec.activation),
      alpha_(spec.activation_alpha),
      uses_table_(spec.pre_activation.has_value()) {
  std::size_t residuals = 0;
  for (const Destination& destination : spec.destinations) {
    Target& target = destinations_.emplace_back();
    target.spec = destination;
    if (destination.residual) target.residual_source = ++residuals;
    if (uses_table_) {
      target.table = activation_table(*spec.pre_activation, activation_, alpha_,
                                      destination.surface.grid, spec.end_values);
    }
  }
}

std::byte* Finisher::direct(const Arguments& arguments, std::int64_t y, std::int64_t x,
                            std::int64_t channel, std::int64_t channels) const {
  const Destination& only = destinations_[0].spec;
  if (destinations_.size() != 1 || uses_table_ || activation_ != Activation::kNone ||
      only.residual || only.repeat != 1 || only.surface.type != DataType::kFloat32 ||
      channel < only.first_channel || channel + channels > only.first_channel + only.channels) {
    return nullptr;
  }
  const std::int64_t at =
      y * only.surface.row_stride + x * only.surface.pixel_stride + channel - only.first_channel;
  return static_cast<std::byte*>(arguments.destinations[0]) + at * 4;
}

std::optional<SoleTarget> Finisher::sole_target(const Arguments& arguments, std::int64_t channel,
                                                std::int64_t channels) const {
  std::optional<SoleTarget> found;
  for (std::size_t i = 0; i < destinations_.size(); ++i) {
    const Destination& to = destinations_[i].spec;
    const std::int64_t end = to.first_channel + to.channels;
    if (channel >= end || channel + channels <= to.first_channel) continue;
    if (found || to.repeat != 1 || channel < to.first_channel || channel + channels > end) {
      return std::nullopt;
    }
    const std::int64_t bytes = element_bytes(to.surface.type);
    const std::int64_t first = channel - to.first_channel;
    found = SoleTarget{.type = to.surface.type,
                       .table = uses_table_ ? destinations_[i].table.data() : nullptr,
                       .to = static_cast<std::byte*>(arguments.destinations[i]) + first * bytes,
                       .stride = to.surface.pixel_stride * bytes,
                       .row_stride = to.surface.row_stride * bytes,
                       .zero_point = to.surface.grid.zero_point};
    if (!to.residual) continue;
    const std::int64_t residual_bytes = element_bytes(to.residual->type);
    const void* residual = arguments.sources[destinations_[i].residual_source];
    found->residual = static_cast<const std::byte*>(residual) + first * residual_bytes;
    found->residual_type = to.residual->type;
    found->residual_stride = to.residual->pixel_stride * residual_bytes;
    found->residual_row_stride = to.residual->row_stride * residual_bytes;
  }
  return found;
}

void Finisher::locate(const Arguments& arguments, std::int64_t y, std::int64_t x,
                      std::int64_t channel, std::int64_t channels, TileJob& job) const {
  for (std::size_t i = 0; i < destinations_.size(); ++i) {
    const Destination& to = destinations_[i].spec;
    const std::int64_t end = to.first_channel + to.channels;
    if (to.repeat != 1 || channel < to.first_channel || channel >= end) continue;
    const std::int64_t bytes = element_bytes(to.surface.type);
    job.destination =
        static_cast<std::byte*>(arguments.destinations[i]) +
        (y * to.surface.row_stride + x * to.surface.pixel_stride + channel - to.first_channel) *
            bytes;
    job.destination_stride = to.surface.pixel_stride * bytes;
    job.destination_bytes = std::min(end - channel, channels) * bytes;
    return;
  }
}

void Finisher::finish(const Arguments& arguments, const std::byte* strip, std::int64_t stride,
                      std::int64_t y, std::int64_t x, std::int64_t pixels, std::int64_t channel,
                      std::int64_t channels) const {
  for (std::size_t i = 0; i < destinations_.size(); ++i) {
    const Target& target = destinations_[i];
    const Destination& spec = target.spec;
    const std::int64_t first = std::max(channel, spec.first_channel);
    const std::int64_t end = std::min(channel + channels, spec.first_channel + spec.channels);
    if (first >= end) continue;
    const Surface& surface = spec.surface;
    const std::int64_t to = y * spec.repeat * surface.row_stride +
                            x * spec.repeat * surface.pixel_stride + first - spec.first_channel;
    const std::int64_t bytes = element_bytes(surface.type);
    std::byte* to_data = static_cast<std::byte*>(arguments.destinations[i]) + to * bytes;
    const std::byte* residual = nullptr;
    if (spec.residual) {
      const std::int64_t at = y * spec.residual->row_stride + x * spec.residual->pixel_stride +
                              first - spec.first_channel;
      residual = static_cast<const std::byte*>(arguments.sources[target.residual_source]) +
                 at * element_bytes(spec.residual->type);
    }
    const std::byte* from = strip + (first - channel) * strip_element_bytes();
    if (uses_table_) {
      TableJob job;
      job.from = reinterpret_cast<const std::uint8_t*>(from);
      job.from_stride = stride;
      job.table = target.table.data();
      job.residual = reinterpret_cast<const std::uint8_t*>(residual);
      job.residual_stride = residual == nullptr ? 0 : spec.residual->pixel_stride;
      job.residual_zero_point = surface.grid.zero_point;
      job.to = reinterpret_cast<std::uint8_t*>(to_data);
      job.to_stride = surface.pixel_stride;
      job.to_row_stride = surface.row_stride;
      job.repeat = spec.repeat;
      job.pixels = pixels;
      job.channels = end - first;
      rows_.table(job);
    } else {
      PointwiseJob job;
      job.from = {from, stride, DataType::kFloat32, {}};
      if (residual != nullptr) {
        job.residual = {residual, spec.residual->pixel_stride, spec.residual->type,
                        spec.residual->grid};
      }
      job.to = to_data;
      job.to_stride = surface.pixel_stride;
      job.to_row_stride = surface.row_stride;
      job.to_type = surface.type;
      job.to_grid = surface.grid;
      job.repeat = spec.repeat;
      job.pixels = pixels;
      job.channels = end - first;
      job.activation = activation_;
      job.alpha = alpha_;
      rows_.pointwise(job);
    }
  }
}

Tactics enumerate_tactics(const ConvolutionSpec& spec, const CpuFeatures& features) {
  Tactics tactics;
  if (!check(spec)) return tactics;
  std::string unfit;
  std::string depthwise = depthwise_tactic(spec, features, unfit);
  if (!depthwise.empty()) tactics.names.push_back(std::move(depthwise));
  if (!unfit.empty()) tactics.declined.push_back(std::move(unfit));
  for (const WinogradTactic& tactic : winograd_tactics(spec, features)) {
    tactics.names.push_back(tactic.name());
  }
  std::string no_amx;
  for (const AmxTactic& tactic : amx_tactics(spec, features, no_amx)) {
    tactics.names.push_back(tactic.name());
  }
  if (!no_amx.empty()) tactics.declined.push_back("amx: " + no_amx);
  std::vector<float> rounded;
  const bool widens = spec.compute == DataType::kBfloat16;
  const ConvolutionSpec& tiled = widens ? widened(spec, rounded) : spec;
  for (const TileImplementation* implementation : candidates(tiled, features)) {
    std::string declined;
    for (const TiledTactic& tactic : tiled_tactics(tiled, *implementation, features, declined)) {
      tactics.names.push_back(tactic.name());
    }
    if (!declined.empty()) {
      tactics.declined.push_back(fmt::format("{}: {}", implementation->isa, declined));
    }
  }
  tactics.names.emplace_back(kScalar);
  return tactics;
}

Result<std::unique_ptr<const Kernel>> create_convolution(const ConvolutionSpec& spec,
                                                         std::string_view tactic,
                                                         const CpuFeatures& features) {
  FOVEA_TRY(check(spec));
  std::string unfit;
  std::string depthwise = depthwise_tactic(spec, features, unfit);
  if (!depthwise.empty() && (tactic.empty() || depthwise == tactic)) {
    return make_depthwise_convolution(spec, std::move(depthwise), features);
  }
  for (const WinogradTactic& candidate : winograd_tactics(spec, features)) {
    if (tactic.empty() || candidate.name() == tactic) {
      return make_winograd_convolution(spec, candidate, features);
    }
  }
  std::string reasons = unfit.empty() ? "" : "; " + unfit;
  std::string no_amx;
  for (const AmxTactic& candidate : amx_tactics(spec, features, no_amx)) {
    if (tactic.empty() || candidate.name() == tactic) {
      return make_amx_convolution(spec, candidate, features);
    }
  }
  if (!no_amx.empty()) reasons += "; amx: " + no_amx;
  std::vector<float> rounded;
  const bool widens = spec.compute == DataType::kBfloat16;
  const ConvolutionSpec& tiled = widens ? widened(spec, rounded) : spec;
  for (const TileImplementation* implementation : candidates(tiled, features)) {
    std::string declined;
    for (const TiledTactic& candidate : tiled_tactics(tiled, *implementation, features, declined)) {
      if (tactic.empty() || candidate.name() == tactic) {
        return make_tiled_convolution(tiled, candidate, features);
      }
    }
    if (!declined.empty()) reasons += fmt::format("; {}: {}", implementation->isa, declined);
  }
  if (tactic.empty() || tactic == kScalar) return make_scalar_convolution(spec);
  return fail(ErrorCode::kUnsupported,
              fmt::format("tactic {} is not one of this convolution's{}", tactic, reasons));
}

}  // namespace fovea::engine::kernels
