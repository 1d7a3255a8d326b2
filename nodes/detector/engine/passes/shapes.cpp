// Passes that settle extents: input size, shape arithmetic, batch.
#include <algorithm>

#include <fmt/core.h>

#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/shapes/geometry.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine {

namespace {

// What inference says for one batch.
struct Inferred {
  std::int64_t batch = 1;
  NetworkDefinition network;
  KnownValues known;
};

Result<Inferred> infer(const NetworkDefinition& network, std::int64_t batch) {
  Inferred inferred{batch, network, {}};
  FOVEA_ASSIGN(inferred.known, infer_known_values(inferred.network, batch));
  return inferred;
}

bool reshapes(OpType op) {
  return op == OpType::kReshape || op == OpType::kFlatten || op == OpType::kSqueeze ||
         op == OpType::kUnsqueeze;
}

// The Reshape shape that makes `a` of `input_a` and `b` of `input_b`; nullopt if there is none.
std::optional<std::vector<std::int64_t>> general_shape(const Dims& input_a, const Dims& a,
                                                       const Dims& input_b, const Dims& b,
                                                       std::int64_t batch) {
  std::vector<std::int64_t> shape = a;
  if (std::find(a.begin(), a.end(), 0) != a.end()) return std::nullopt;
  bool open = false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    // With equal first extents a reshape works image by image, whatever the batch is.
    if (i == 0 && !input_a.empty() && a[0] == batch && a[0] == input_a[0] && b[0] == input_b[0]) {
      shape[0] = 0;
    } else if (a[i] != b[i]) {
      if (open) return std::nullopt;
      shape[i] = -1;
      open = true;
    }
  }
  return shape;
}

// Open extents whose profile has one value take it; others stay open, and the network gets the
// profile.
Result<PassOutcome> resolve_profile(NetworkDefinition& network,
                                    const OptimizationProfile& profile) {
  PassOutcome outcome;
  FOVEA_TRY(check_profile(profile));
  if (network.inputs.size() != 1 || network.value(network.inputs[0]).dims.size() != 4) {
    return fail(ErrorCode::kUnsupported, "a profile needs a model with one input, an image");
  }
  Value& input = network.value(network.inputs[0]);
  if (!profile.input.empty() && profile.input != input.name) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the profile names input '{}'; the model's is '{}'", profile.input,
                            input.name));
  }
  if (input.dims[1] == -1) input.dims[1] = 3;
  bool open = false;
  for (const std::size_t axis : {std::size_t{2}, std::size_t{3}}) {
    std::int64_t& extent = input.dims[axis];
    const bool one_size = profile.min[axis] == profile.max[axis];
    if (extent >= 0 && (!one_size || extent != profile.opt[axis])) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("input {} is {}..{} in the profile ({}); the model fixes it to {}: "
                              "export it with dynamic axes",
                              axis == 2 ? "height" : "width", profile.min[axis], profile.max[axis],
                              to_string(profile), extent));
    }
    if (extent < 0 && one_size) extent = profile.opt[axis];
    open = open || extent < 0;
    ++outcome.changes;
  }
  outcome.note = fmt::format("'{}' is {}", input.name, to_string(profile));
  if (!open) return outcome;
  network.profile = profile;
  FOVEA_TRY(check_ends(network));
  return outcome;
}

ValueId add_ints(NetworkDefinition& network, const std::string& name,
                 const std::vector<std::int64_t>& values) {
  return network.add_constant(name, std::make_shared<const Constant>(Constant::ints(values)));
}

// A Softmax of before opset 13 over all axes from one on, of which the others have one element.
bool is_over_one_axis(const Layer& layer, const NetworkDefinition& shaped) {
  if (layer.op != OpType::kSoftmax || layer.int_attribute("flatten", 0) == 0) return false;
  const Dims& dims = shaped.value(layer.inputs[0]).dims;
  const auto axis = resolve_axis(layer.int_attribute("axis", -1), dims.size());
  return axis && std::all_of(dims.begin() + static_cast<std::ptrdiff_t>(*axis) + 1, dims.end(),
                             [](std::int64_t extent) { return extent == 1; });
}

}  // namespace

Result<PassOutcome> resolve_input_size(NetworkDefinition& network, const LoweringOptions& options) {
  if (!options.profile.empty()) return resolve_profile(network, options.profile);
  PassOutcome outcome;
  const auto metadata = network.metadata.find("imgsz");
  const std::vector<std::int64_t> imgsz = metadata == network.metadata.end()
                                              ? std::vector<std::int64_t>{}
                                              : parse_int_list(metadata->second);
  for (const ValueId id : network.inputs) {
    Value& input = network.value(id);
    if (input.dims.size() != 4) continue;
    for (std::size_t i = 0; i < 2; ++i) {
      const std::int64_t wanted = i == 0 ? options.input_height : options.input_width;
      std::int64_t& extent = input.dims[2 + i];
      const char* side = i == 0 ? "height" : "width";
      if (extent >= 0) {
        if (wanted != 0 && wanted != extent) {
          return fail(
              ErrorCode::kInvalidArgument,
              fmt::format("input {} is {}; the model fixes it to {}", side, wanted, extent));
        }
        continue;
      }
      extent = wanted;
      if (extent == 0 && !imgsz.empty()) extent = imgsz.size() == 2 ? imgsz[i] : imgsz[0];
      if (extent < 1 || extent > kMaxElements) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("input {} is {}; the model leaves it open, so it must be given",
                                side, extent));
      }
      ++outcome.changes;
    }
    if (input.dims[1] == -1) {
      input.dims[1] = 3;
      ++outcome.changes;
    }
    if (outcome.changes > 0)
      outcome.note = fmt::format("'{}' is {}", input.name, to_string(input.dims));
  }
  const bool is_one_picture =
      network.inputs.size() == 1 && network.value(network.inputs[0]).dims.size() == 4;
  if (outcome.changes > 0 && options.input_height != 0 && is_one_picture) {
    FOVEA_TRY(check_input_size(network));
  }
  return outcome;
}

namespace {

// What else an open batch that the graph contradicts is: 1, if it runs with one. Errors: it does not,
// with the layer and the way out.
Result<> settle_batch(NetworkDefinition& network, const ShapeEnds& ends, PassOutcome& outcome) {
  const auto one = infer(ends.least, 1);
  if (!one) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the input leaves its batch open, and the graph does not run with one "
                            "picture: {}; export the model with a batch of 1 (Ultralytics: "
                            "batch=1)",
                            one.error().message));
  }
  const auto more = infer(ends.greatest, ends.greatest_batch);
  if (more) return {};
  if (!infer(ends.greatest, 1)) return fail(more.error());  // it is the size
  for (const ValueId id : network.inputs) {
    Dims& dims = network.value(id).dims;
    if (!dims.empty() && dims[0] == -1) dims[0] = 1;
  }
  outcome.note = fmt::format("one picture at a time, for the graph fixes its batch inside ({})",
                             more.error().message);
  return {};
}

}  // namespace

Result<PassOutcome> resolve_shapes(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  if (declared_batch(network) == -1) FOVEA_TRY(settle_batch(network, ends_of(network), outcome));
  const ShapeEnds ends = ends_of(network);
  FOVEA_ASSIGN(const Inferred a, infer(ends.least, ends.least_batch));
  FOVEA_ASSIGN(const Inferred b, infer(ends.greatest, ends.greatest_batch));
  const std::size_t values = network.values.size();
  const auto known_alike = [&](ValueId id) -> std::shared_ptr<const Constant> {
    if (id == kNoValue || static_cast<std::size_t>(id) >= values) return nullptr;
    const auto& first = a.known[static_cast<std::size_t>(id)];
    const auto& second = b.known[static_cast<std::size_t>(id)];
    const bool alike =
        first && second && first->dims == second->dims && first->bytes == second->bytes;
    return alike ? first : nullptr;
  };
  for (Layer& layer : network.layers) {
    bool changed = false;
    for (ValueId& input : layer.inputs) {
      if (input == kNoValue || network.value(input).constant != nullptr) continue;
      if (auto constant = known_alike(input)) {
        input = network.add_constant(network.value(input).name, std::move(constant));
        changed = true;
      }
    }
    const ValueId output = layer.outputs.front();
    if (reshapes(layer.op) && a.known[static_cast<std::size_t>(output)] == nullptr) {
      const auto shape = general_shape(
          a.network.value(layer.inputs[0]).dims, a.network.value(output).dims,
          b.network.value(layer.inputs[0]).dims, b.network.value(output).dims, a.batch);
      const bool has_it =
          layer.op == OpType::kReshape && constant_ints(network, layer.inputs[1]) == shape;
      if (shape && !has_it) {
        layer.op = OpType::kReshape;
        layer.attributes.clear();
        layer.inputs = {layer.inputs[0], add_ints(network, layer.name + ".shape", *shape)};
        changed = true;
      }
    }
    if (is_over_one_axis(layer, a.network) && is_over_one_axis(layer, b.network)) {
      layer.attributes.erase("flatten");
      changed = true;
    }
    // Sizes that name the batch: leave that axis out.
    if (layer.op == OpType::kResize && layer.inputs.size() > 3 && layer.inputs[3] != kNoValue &&
        network.value(layer.inputs[3]).constant == nullptr && !layer.attributes.contains("axes")) {
      const Dims& first = a.network.value(output).dims;
      const Dims& second = b.network.value(output).dims;
      if (first.size() > 1 && std::equal(first.begin() + 1, first.end(), second.begin() + 1)) {
        std::vector<std::int64_t> axes;
        for (std::size_t i = 1; i < first.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
        layer.attributes["axes"] = std::move(axes);
        layer.inputs[3] =
            add_ints(network, layer.name + ".sizes", {first.begin() + 1, first.end()});
        changed = true;
      }
    }
    if (changed) ++outcome.changes;
  }
  return outcome;
}

namespace {

// Why an image's results in a batch of `trial` could depend on the other images; empty if they
// cannot. Every value must either ignore the batch or have it as its first extent and nowhere else.
std::string batch_obstacle(const NetworkDefinition& fixed, std::int64_t batch,
                           const NetworkDefinition& shaped, std::int64_t trial) {
  const auto depends = [&](ValueId id) {
    return id != kNoValue && shaped.value(id).dims != fixed.value(id).dims;
  };
  for (const Layer& layer : fixed.layers) {
    if (std::none_of(layer.inputs.begin(), layer.inputs.end(), depends)) continue;
    for (const ValueId id : layer.outputs) {
      Dims expected = fixed.value(id).dims;
      if (!expected.empty() && expected[0] == batch) expected[0] = trial;
      if (!depends(id) || shaped.value(id).dims != expected) {
        return fmt::format("'{}' of layer '{}' would be {}", fixed.value(id).name, layer.name,
                           to_string(shaped.value(id).dims));
      }
    }
    // Rows of indices that name the picture, too.
    const bool names_pictures =
        layer.op == OpType::kScatterND ||
        (layer.op == OpType::kGatherND && layer.int_attribute("batch_dims", 0) == 0);
    if (names_pictures) return "layer '" + layer.name + "' mixes images";
    const auto rank = static_cast<std::int64_t>(fixed.value(layer.outputs[0]).dims.size());
    const bool gathers = layer.op == OpType::kGather || layer.op == OpType::kGatherElements;
    const std::int64_t axis = layer.int_attribute("axis", gathers ? 0 : -1);
    const bool over_axis = gathers || layer.op == OpType::kSoftmax || layer.op == OpType::kTopK ||
                           layer.op == OpType::kLayerNormalization;
    if (over_axis && (axis == 0 || axis == -rank)) return "layer '" + layer.name + "' mixes images";
  }
  return {};
}

}  // namespace

Result<PassOutcome> free_batch(NetworkDefinition& network, const LoweringOptions&) {
  PassOutcome outcome;
  const std::int64_t batch = declared_batch(network);
  if (batch == -1) return outcome;
  NetworkDefinition open = network;
  for (const ValueId id : open.inputs) {
    Dims& dims = open.value(id).dims;
    if (dims.empty() || dims[0] != batch) return outcome;
    dims[0] = -1;
  }
  FOVEA_ASSIGN(const NetworkDefinition fixed, with_shapes(network));
  const std::int64_t trial = batch + 1;
  const auto shaped = with_shapes(open, trial);
  const std::string obstacle =
      shaped ? batch_obstacle(fixed, batch, *shaped, trial) : shaped.error().message;
  if (!obstacle.empty()) {
    outcome.note = fmt::format("the batch stays {}: {}", batch, obstacle);
    return outcome;
  }
  network = std::move(open);
  outcome.changes = 1;
  return outcome;
}

}  // namespace fovea::engine
