// The order of the passes, and what the result must be.
#include <array>

#include <fmt/core.h>

#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/passes/graph.hpp"
#include "nodes/detector/engine/passes/passes.hpp"

namespace fovea::engine {

namespace {

constexpr std::array kPasses = {
    Pass{"resolve_input_size", "give open input extents their size", resolve_input_size},
    Pass{"fold_size_input", "an input for the picture's size becomes a constant", fold_size_input},
    Pass{"resolve_shapes", "replace shape arithmetic by constants", resolve_shapes},
    Pass{"fold_constants", "compute layers that read constants only", fold_constants},
    Pass{"adopt_quantization", "for int8, keep a model's own ranges instead of its roundings",
         adopt_quantization},
    Pass{"remove_identities", "drop layers that change nothing", remove_identities},
    Pass{"fold_scales", "fold constant factors into convolutions", fold_scales},
    Pass{"fold_batch_normalization", "fold batch normalisation into convolutions",
         fold_batch_normalization},
    Pass{"fuse_silu", "x * Sigmoid(x) becomes Silu(x)", fuse_silu},
    Pass{"fuse_layer_normalization", "a spelt-out LayerNormalization becomes one layer",
         fuse_layer_normalization},
    Pass{"fuse_gelu", "x * (1 + erf(x / sqrt(2))) / 2 becomes Gelu", fuse_gelu},
    Pass{"recognise_head", "stop at the raw maps of the head", recognise_head},
    Pass{"settle_picture", "say how a picture becomes the input", settle_picture},
    Pass{"fold_image_input", "read u8 RGB images", fold_image_input},
    Pass{"remove_identities", "drop layers that change nothing", remove_identities},
    Pass{"unfold_transposed_convolutions",
         "a ConvTranspose without overlaps becomes a 1x1 Conv and a move",
         unfold_transposed_convolutions},
    Pass{"convolve_dense_layers", "a Gemm over one row per picture becomes a 1x1 Conv",
         convolve_dense_layers},
    Pass{"fuse_convolutions", "fuse bias, activation and residual into convolutions",
         fuse_convolutions},
    Pass{"remove_dead_layers", "drop what no output needs", remove_dead_layers},
    Pass{"free_batch", "let a fixed batch be any", free_batch},
};

// Shapes of every value, -1 where they depend on the batch or on an open size.
Result<> mark_open_extents(NetworkDefinition& network) {
  const ShapeEnds ends = ends_of(network);
  FOVEA_ASSIGN(const NetworkDefinition one, with_shapes(ends.least, 1));
  FOVEA_ASSIGN(const NetworkDefinition two, with_shapes(ends.greatest, 2));
  for (std::size_t i = 0; i < network.values.size(); ++i) {
    Value& value = network.values[i];
    value.dtype = one.values[i].dtype;
    value.dims = one.values[i].dims;
    for (std::size_t axis = 0; axis < value.dims.size(); ++axis) {
      if (two.values[i].dims[axis] != value.dims[axis]) value.dims[axis] = -1;
    }
  }
  return {};
}

}  // namespace

std::span<const Pass> all_passes() { return kPasses; }

Result<NetworkDefinition> lower(NetworkDefinition network, const LoweringOptions& options,
                                LoweringReport* report) {
  FOVEA_TRY(network.validate());
  for (const auto& [key, value] : options.metadata) network.metadata[key] = value;
  if (const auto names = options.metadata.find("names"); names != options.metadata.end()) {
    network.class_names = parse_class_names(names->second);
  }
  if (report != nullptr) *report = {network.layers.size(), {}};
  for (const Pass& pass : kPasses) {
    auto outcome = pass.run(network, options);
    if (!outcome) return fail(outcome.error().with_context(pass.name));
    FOVEA_TRY(network.validate());
    if (report != nullptr) {
      report->passes.push_back({pass.name, std::move(*outcome), network.layers.size()});
    }
  }
  if (const std::int64_t batch = declared_batch(network); batch > 1) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format(
            "the batch is fixed to {} and the graph does not allow another; export the model "
            "with a dynamic batch or a batch of 1",
            batch));
  }
  FOVEA_TRY(mark_open_extents(network));
  return network;
}

}  // namespace fovea::engine
