// From a network as its file has it to the one that providers run. Each pass is a function that
// leaves a valid network which computes the same outputs (the image input and the detect head
// excepted: those say what they change), and can be called on its own.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// What a user may say about a model's outputs.
inline constexpr std::string_view kAutoHead = "auto";      // found out
inline constexpr std::string_view kYolov8Head = "yolov8";  // [4 + classes, anchors], or its raw maps
inline constexpr std::string_view kYolov5Head = "yolov5";  // [anchors, 5 + classes]
inline constexpr std::string_view kRowsHead = "rows";      // [rows, 6 + more] of the best boxes
inline constexpr std::string_view kNoHead = "none";        // nothing that a detector could decode
inline constexpr std::array kHeadChoices = {kAutoHead, kYolov8Head, kYolov5Head, kRowsHead,
                                            kNoHead};

struct LoweringOptions {
  // Keep the model's own output, `output0`, instead of cutting it off at the raw maps of its head.
  bool keep_output0 = false;
  // For models that leave their input size open; 0 = metadata "imgsz". Another size than a fixed
  // one is an error.
  std::int64_t input_height = 0;
  std::int64_t input_width = 0;
  // Instead of one size: where its ends differ, the network stays open.
  OptimizationProfile profile = {};
  // For int8: what a model rounds with QuantizeLinear and DequantizeLinear is kept as a range
  // (NetworkDefinition::own_grids) instead of as layers, which nothing can be fused across.
  bool adopt_quantization = false;
  // What the outputs are: kAutoHead, one of the other kHeadChoices.
  std::string head = std::string(kAutoHead);
  // What the user says of how a picture becomes the input.
  InputChoice picture = {};
  // What the user says in place of the file's metadata, by their keys: "task", "names".
  std::map<std::string, std::string> metadata = {};
};

struct PassOutcome {
  std::size_t changes = 0;  // layers removed, fused or rewritten
  std::string note;         // what a person inspecting the engine wants to know; may be empty
};

struct PassReport {
  std::string_view name;
  PassOutcome outcome;
  std::size_t layers = 0;  // after it
};

struct LoweringReport {
  std::size_t layers_before = 0;
  std::vector<PassReport> passes;
};

// All passes in their order. The result has one input, u8 [batch, height, width, 3] RGB, whose
// first extent is -1 if it takes any batch and 1 if it takes one image at a time; outputs as
// HeadInfo says, or the model's own without a head. Extents that depend on the batch are
// -1. Thread safety: pure. Errors: kUnsupported or kInvalidArgument for an input that is no image,
// or a batch or size that cannot be settled; infer_shapes()'s.
Result<NetworkDefinition> lower(NetworkDefinition network, const LoweringOptions& options = {},
                                LoweringReport* report = nullptr);

using PassFunction = Result<PassOutcome> (*)(NetworkDefinition&, const LoweringOptions&);
struct Pass {
  std::string_view name;
  std::string_view purpose;
  PassFunction run;
};
// What lower() runs, in order.
std::span<const Pass> all_passes();

// Gives open input extents but the first their size, or the network its profile.
Result<PassOutcome> resolve_input_size(NetworkDefinition& network,
                                       const LoweringOptions& options = {});
// A second input that asks for the picture's size (`orig_target_sizes` of RT-DETR, D-FINE and DEIM)
// becomes a constant: the network's own width and height, so that boxes are in network pixels. Errors:
// kUnsupported for any other second input, or an open size.
Result<PassOutcome> fold_size_input(NetworkDefinition& network,
                                    const LoweringOptions& options = {});
// Replaces shape arithmetic by constants; reshapes that only follow the batch copy their first
// extent.
Result<PassOutcome> resolve_shapes(NetworkDefinition& network, const LoweringOptions& options = {});
// Layers that read constants only become constants.
Result<PassOutcome> fold_constants(NetworkDefinition& network, const LoweringOptions& options = {});
// Layers that change nothing: Identity, and Cast, Reshape, Slice, Concat, ... to what their input
// already is.
Result<PassOutcome> remove_identities(NetworkDefinition& network,
                                      const LoweringOptions& options = {});
// Layers that no output depends on, and values that nothing refers to. Renumbers values.
Result<PassOutcome> remove_dead_layers(NetworkDefinition& network,
                                       const LoweringOptions& options = {});
// If asked to: QuantizeLinear with one 8-bit grid, behind anything but a constant, and the
// DequantizeLinear behind it make way for an entry in own_grids. Signed codes become unsigned ones.
Result<PassOutcome> adopt_quantization(NetworkDefinition& network,
                                       const LoweringOptions& options = {});
// A constant factor behind a Conv, one or one per channel, into its weights and bias: the scales of
// weights that were integers.
Result<PassOutcome> fold_scales(NetworkDefinition& network, const LoweringOptions& options = {});
// BatchNormalization behind a Conv or ConvTranspose, into its weights and bias.
Result<PassOutcome> fold_batch_normalization(NetworkDefinition& network,
                                             const LoweringOptions& options = {});
// x * Sigmoid(x) -> Silu(x).
Result<PassOutcome> fuse_silu(NetworkDefinition& network, const LoweringOptions& options = {});
// (x - mean) / sqrt(variance + epsilon) * scale + bias along the last axis -> LayerNormalization. What
// it no longer needs stays, for remove_dead_layers().
Result<PassOutcome> fuse_layer_normalization(NetworkDefinition& network,
                                             const LoweringOptions& options = {});
// x * (1 + erf(x / sqrt(2))) / 2 -> Gelu. What it no longer needs stays, too.
Result<PassOutcome> fuse_gelu(NetworkDefinition& network, const LoweringOptions& options = {});
// Which head it is (head_recognisers.hpp): what decodes maps that are recognised is cut off, and the
// outputs become those that the head reads, or stay as they are if none is found, and head.note says
// why. Class names that do not fit become warnings. Errors: find_head()'s.
Result<PassOutcome> recognise_head(NetworkDefinition& network, const LoweringOptions& options = {});
// NetworkDefinition::picture: what the user says of it, else the metadata (picture_metadata.hpp), else
// the recognised head's family, else the default. Errors: kInvalidArgument for what cannot be or
// contradicts the model.
Result<PassOutcome> settle_picture(NetworkDefinition& network, const LoweringOptions& options = {});
// The input becomes u8 [N, H, W, 3] RGB; convolutions that read it, directly or through layers that
// only move its pixels, take over what `picture` says of values and channels, and where they cannot
// do so exactly a 1x1 Conv of its own does (a u8 model scales itself).
Result<PassOutcome> fold_image_input(NetworkDefinition& network,
                                     const LoweringOptions& options = {});
// A ConvTranspose whose windows do not overlap -> a 1x1 Conv and what moves its channels to their
// pixels.
Result<PassOutcome> unfold_transposed_convolutions(NetworkDefinition& network,
                                                   const LoweringOptions& options = {});
// A Gemm over one row per picture -> a 1x1 Conv of one pixel.
Result<PassOutcome> convolve_dense_layers(NetworkDefinition& network,
                                          const LoweringOptions& options = {});
// Conv + constant Add -> bias; then + Relu, Silu, ... -> activation; then + Add -> residual.
Result<PassOutcome> fuse_convolutions(NetworkDefinition& network,
                                      const LoweringOptions& options = {});
// A fixed batch becomes open where every layer allows it.
Result<PassOutcome> free_batch(NetworkDefinition& network, const LoweringOptions& options = {});

}  // namespace fovea::engine
