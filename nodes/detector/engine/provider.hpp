// What every provider has in common: a name, a way to load a lowered network, and the bindings it
// must offer. An engine's bindings follow from the lowered network alone, so that nothing outside
// can tell providers apart.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/detector/engine/engine.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine {

struct EngineOptions {
  std::int32_t max_batch = 1;  // >= 1
  std::int32_t threads = 1;    // of one execution context, >= 1
  std::string precision = "fp32";
  std::string model_hash = {};
};

// Everything that the rest knows about a provider: one row of providers().
struct Provider {
  std::string_view name;
  // Its version, its libraries' and what it finds on this machine: part of a plan's cache key.
  std::string (*identity)() = nullptr;
  // `lowered` comes from lower(), `info` from describe_engine() for it. A provider may lower
  // max_batch and threads in its engine's info. Tactics that it does not have are as good as none;
  // it may report them. Errors: kUnsupported, naming the layer that it cannot run and why.
  Result<std::shared_ptr<const Engine>> (*load)(NetworkDefinition lowered, EngineInfo info,
                                                const LayerTactics& tactics) = nullptr;
  // Obeys NetworkDefinition::quantization. Others never get a network that has one.
  bool mixes_precisions = false;
  // Measures which tactics suit this machine; null if it has no choice of them. Fills in `report`
  // but for the seconds. Errors: load()'s.
  Result<LayerTactics> (*tune)(const NetworkDefinition& lowered, const EngineInfo& info,
                               const TuningConfig& config, const Progress& progress,
                               TuningReport& report) = nullptr;
  // Frames a call that suit it, where a user leaves max_batch to it.
  std::int32_t default_batch = 1;
};

// Best first, "reference" last.
std::span<const Provider> providers();
// Errors: kInvalidArgument for a name that is not in the list; the message has the list.
Result<const Provider*> find_provider(std::string_view name);
std::vector<std::string> provider_names();

// The bindings of an engine for `lowered`: input u8 [height, width, 3]; kDfl maps f32 [h, w,
// channels]; other outputs in their own order; all without the batch extent. Errors:
// kInvalidArgument for options out of range or a network that did not come from lower().
Result<EngineInfo> describe_engine(const NetworkDefinition& lowered, std::string_view provider,
                                   const EngineOptions& options);

// True if outputs of this head are written channels last: the network's [N, C, H, W] as [H, W, C]
// per item.
inline bool outputs_channels_last(const HeadInfo& head) { return head.kind == HeadKind::kDfl; }

// Batch size and host memory of one enqueue() call, for every provider that runs on the host.
// Errors: kInvalidArgument, naming the item.
Result<> check_batch(std::span<const BatchItem> batch, const EngineInfo& info);

}  // namespace fovea::engine
