#include "nodes/detector/engine/profile.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine {

namespace {

constexpr const char* kAxes[] = {"batch", "channels", "height", "width"};

std::string times(const Dims& dims) { return fmt::format("{}", fmt::join(dims, "x")); }

tl::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

// "; the model's stride is 32, so 640 or 672 would": what a size that does not fit could be.
std::string stride_hint(const NetworkDefinition& network, const Dims& size) {
  const auto found = network.metadata.find("stride");
  if (found == network.metadata.end()) return {};
  const auto strides = parse_int_list(found->second);
  if (strides.empty()) return {};
  const std::int64_t stride = *std::max_element(strides.begin(), strides.end());
  if (stride < 2) return {};
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t rest = size[i] % stride;
    if (rest == 0) continue;
    return fmt::format("; {} {} is no multiple of the model's stride {}: {} or {} would be",
                       kAxes[i + 2], size[i], stride, size[i] - rest, size[i] - rest + stride);
  }
  return {};
}

// Refuses `size` if `inferred`, what the graph says to it, is an error, or if the model's stride
// does not divide it: then the maps do not lie over the picture as a decoder takes them to.
template <class Inferred>
Result<> check_fit(const NetworkDefinition& network, std::string_view what, const Dims& size,
                   const Result<Inferred>& inferred) {
  const std::string hint = stride_hint(network, size);
  if (inferred && hint.empty()) return {};
  const std::string graph = inferred ? "" : fmt::format(" ({})", inferred.error().message);
  return invalid(fmt::format("{} does not fit the graph{}{}", what, hint, graph));
}

// What is known without pixels becomes constants, and the layers that compute it go: shape
// arithmetic that an open size had left in the graph.
void settle(NetworkDefinition& network, const KnownValues& known) {
  // A plan from a file may say anything; check_quantization() refuses what does not match.
  const bool quantised = network.quantization.layers.size() == network.layers.size();
  std::vector<Layer> layers;
  std::vector<LayerQuantization> precisions;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    Layer& layer = network.layers[i];
    const bool settled = std::all_of(layer.outputs.begin(), layer.outputs.end(), [&](ValueId id) {
      return known[static_cast<std::size_t>(id)] != nullptr;
    });
    if (settled) {
      for (const ValueId id : layer.outputs) {
        network.value(id).constant = known[static_cast<std::size_t>(id)];
      }
      continue;
    }
    layers.push_back(std::move(layer));
    if (quantised) precisions.push_back(network.quantization.layers[i]);
  }
  network.layers = std::move(layers);
  if (quantised) network.quantization.layers = std::move(precisions);
}

}  // namespace

Result<ShapeText> parse_shape(std::string_view what, const std::string& text) {
  ShapeText shape;
  const std::size_t colon = text.rfind(':');
  std::string_view rest = text;
  if (colon != std::string::npos) {
    shape.input = text.substr(0, colon);
    rest.remove_prefix(colon + 1);
  }
  const auto refused = [&] {
    return invalid(fmt::format("{} is '{}'; it must be like images:1x3x640x640", what, text));
  };
  while (true) {
    std::int64_t extent = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), extent);
    if (error != std::errc() || shape.dims.size() == 4) return refused();
    shape.dims.push_back(extent);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (rest.empty()) break;
    if (rest.front() != 'x') return refused();
    rest.remove_prefix(1);
  }
  if (shape.dims.size() != 4) return refused();
  return shape;
}

Result<OptimizationProfile> parse_profile(const std::string& min, const std::string& opt,
                                          const std::string& max) {
  OptimizationProfile profile;
  const auto read = [&](std::string_view what, const std::string& text, Dims& end) -> Result<> {
    if (text.empty()) return {};
    FOVEA_ASSIGN(ShapeText shape, parse_shape(what, text));
    if (!profile.input.empty() && !shape.input.empty() && shape.input != profile.input) {
      return invalid(fmt::format("{} names input '{}', another end of the profile '{}'", what,
                                 shape.input, profile.input));
    }
    if (!shape.input.empty()) profile.input = std::move(shape.input);
    end = std::move(shape.dims);
    return {};
  };
  FOVEA_TRY(read("min-shapes", min, profile.min));
  FOVEA_TRY(read("opt-shapes", opt, profile.opt));
  FOVEA_TRY(read("max-shapes", max, profile.max));
  if (profile.opt.empty()) profile.opt = profile.max.empty() ? profile.min : profile.max;
  if (profile.min.empty()) profile.min = profile.opt;
  if (profile.max.empty()) profile.max = profile.opt;
  FOVEA_TRY(check_profile(profile));
  return profile;
}

Result<InputSize> parse_input_size(std::string_view what, std::string_view text) {
  InputSize size;
  const char* end = text.data() + text.size();
  const auto width = std::from_chars(text.data(), end, size.width);
  size.height = size.width;
  bool good = width.ec == std::errc();
  if (good && width.ptr != end) {
    const auto height = std::from_chars(width.ptr + 1, end, size.height);
    good = *width.ptr == 'x' && height.ec == std::errc() && height.ptr == end;
  }
  if (good && size.width > 0 && size.height > 0) return size;
  return invalid(
      fmt::format("{} is '{}'; it must be SIDE or WIDTHxHEIGHT, like 640 or 640x384", what, text));
}

std::string to_string(const OptimizationProfile& profile) {
  if (profile.min == profile.max) return times(profile.opt);
  return fmt::format("min {}, opt {}, max {}", times(profile.min), times(profile.opt),
                     times(profile.max));
}

Result<> check_profile(const OptimizationProfile& profile) {
  for (const auto& [name, dims] : {std::pair("min", &profile.min), std::pair("opt", &profile.opt),
                                   std::pair("max", &profile.max)}) {
    if (dims->size() != 4 || (*dims)[1] != 3 || !checked_volume(*dims) || volume(*dims) < 1) {
      return invalid(
          fmt::format("profile {} is {}; it must be BATCHx3xHEIGHTxWIDTH of at most {} "
                      "numbers",
                      name, times(*dims), kMaxElements));
    }
  }
  for (std::size_t i = 0; i < 4; ++i) {
    if (profile.min[i] > profile.opt[i] || profile.opt[i] > profile.max[i]) {
      return invalid(fmt::format("profile {} is min {}, opt {}, max {}; they must not decrease",
                                 kAxes[i], profile.min[i], profile.opt[i], profile.max[i]));
    }
  }
  if (profile.min[0] != 1) {
    return invalid(fmt::format(
        "profile min batch is {}; it must be 1, as smaller batches run as fast", profile.min[0]));
  }
  return {};
}

Result<> check_size(const NetworkDefinition& lowered, const Dims& size) {
  if (size.size() != 3 || size[2] != 3) {
    return invalid(
        fmt::format("the input shape is {}; it must be [height, width, 3]", to_string(size)));
  }
  if (lowered.inputs.size() != 1 || lowered.value(lowered.inputs[0]).dims.size() != 4) {
    return invalid("the network's input is no image");
  }
  const Dims& input = lowered.value(lowered.inputs[0]).dims;
  const OptimizationProfile& profile = lowered.profile;
  if (profile.empty() && (input[1] < 0 || input[2] < 0)) {
    return invalid("the network leaves its input size open and has no profile");
  }
  for (std::size_t i = 0; i < 2; ++i) {
    if (input[i + 1] >= 0 && size[i] != input[i + 1]) {
      return invalid(fmt::format("input {} is {}; the model fixes it to {}", kAxes[i + 2], size[i],
                                 input[i + 1]));
    }
    if (input[i + 1] < 0 && (size[i] < profile.min[i + 2] || size[i] > profile.max[i + 2])) {
      return invalid(fmt::format("input {} is {}; the profile ({}) takes {}..{}", kAxes[i + 2],
                                 size[i], to_string(profile), profile.min[i + 2],
                                 profile.max[i + 2]));
    }
  }
  return {};
}

Result<NetworkDefinition> at_size(const NetworkDefinition& lowered, const Dims& size) {
  FOVEA_TRY(check_size(lowered, size));
  NetworkDefinition network = lowered;
  Dims& input = network.value(network.inputs[0]).dims;
  if (input[1] >= 0 && input[2] >= 0) return network;  // nothing is open
  const std::int64_t batch = input[0];
  std::copy(size.begin(), size.end(), input.begin() + 1);
  auto known = infer_known_values(network, 1);
  FOVEA_TRY(check_fit(lowered, fmt::format("input size {}x{} (width x height)", size[1], size[0]),
                      size, known));
  settle(network, *known);
  network.value(network.inputs[0]).dims[0] = batch;
  network.profile = {};
  return network;
}

Result<> check_ends(const NetworkDefinition& network) {
  const OptimizationProfile& profile = network.profile;
  for (const auto& [name, dims] : {std::pair("min", &profile.min), std::pair("opt", &profile.opt),
                                   std::pair("max", &profile.max)}) {
    NetworkDefinition one = network;
    one.profile.opt = *dims;
    FOVEA_TRY(check_fit(network, fmt::format("profile {} {}", name, times(*dims)),
                        {(*dims)[2], (*dims)[3]}, infer_shapes(one, 1)));
  }
  return {};
}

Result<> check_input_size(const NetworkDefinition& network) {
  NetworkDefinition one = network;
  const Dims& input = network.value(network.inputs[0]).dims;
  return check_fit(network, fmt::format("input size {}x{} (width x height)", input[3], input[2]),
                   {input[2], input[3]}, infer_shapes(one, 1));
}

OptimizationProfile profile_of(const NetworkDefinition& lowered, std::int32_t max_batch) {
  OptimizationProfile profile = lowered.profile;
  if (profile.empty()) {
    const Dims& input = lowered.value(lowered.inputs[0]).dims;
    profile.min = profile.opt = profile.max = {1, 3, input[1], input[2]};
  }
  profile.max[0] = max_batch;
  profile.opt[0] = std::min<std::int64_t>(profile.opt[0], max_batch);
  return profile;
}

}  // namespace fovea::engine
