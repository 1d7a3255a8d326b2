// Which layer of an engine is wrong. Every layer is judged alone: the reference operators compute it
// from the very numbers that the engine gave it, so that roundings of earlier layers, which grow
// from layer to layer and are nobody's fault, do not count.
//
// Costs an engine per some hundred MiB of values, and one run of the reference.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nodes/detector/engine/plan/plan.hpp"

namespace fovea {

// What an engine may be off by, for a value whose numbers have the root mean square `rms`: at one
// element relative * max(|expected|, rms) + absolute, on average mean * rms + kMeanSteps *
// absolute, and more where there are few.
struct LayerBound {
  static constexpr double kMeanSteps =
      0.01;  // a code here and there is rounding, one everywhere not
  double relative = 0;
  double mean = 0;
  double absolute = 0;
};
// Of output `output` of layer `layer`, whose engine runs in `precision`; `fused`: with layers before
// it, in one step. REQUIRES: inferred shapes.
LayerBound layer_bound(const engine::NetworkDefinition& network, std::size_t layer,
                       std::size_t output, engine::Precision precision, bool fused);

struct LayerDifference {
  std::size_t layer = 0;       // of the network at its size
  engine::ValueId value = -1;  // the output that is apart
  std::string implementation;  // empty where the engine has no step of its own for it
  engine::Dims dims;           // [1, C, H, W] and the like, whatever the engine stores
  engine::Dims position;       // of the greatest difference for what is allowed, or the first NaN
  double actual = 0;           // there
  double expected = 0;
  double largest = 0;
  double mean = 0;
  double cosine = 1;
  double allowed = 0;       // at that position
  bool on_average = false;  // each number is near enough, but not the mean: `allowed` is for that
  bool not_a_number = false;
  // Layers before it that the engine has no memory of its own for: the fault may be in one of them.
  std::vector<std::size_t> inside;
  std::vector<float> actual_values;
  std::vector<float> expected_values;
};

struct LayerCheck {
  engine::NetworkDefinition network;  // at its size, with shapes
  std::string provider;
  engine::Precision precision = engine::Precision::kFp32;  // as the engine runs
  std::size_t judged = 0;                                  // layers
  std::size_t inside = 0;                                  // judged by what reads them
  std::optional<LayerDifference> first;                    // in order of execution
};

// `size` is [height, width, 3] or empty for the plan's own, `image` as many bytes. `cancelled` may be
// empty. Errors: load_engine()'s; kUnsupported for a model that its provider took over as a whole;
// kUnavailable once `cancelled`.
Result<LayerCheck> check_layers(const engine::Plan& plan, const engine::Dims& size,
                                std::span<const std::byte> image,
                                const std::function<bool()>& cancelled = {});

}  // namespace fovea
