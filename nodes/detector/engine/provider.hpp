// What every provider has in common: a name, a way to load a lowered network, and the bindings it
// must offer. An engine's bindings follow from the lowered network alone, so that nothing outside
// can tell providers apart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
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
  Precision precision = Precision::kFp32;
  std::string model_hash = {};
};

// How a model that only one provider can read is to be taken over.
struct ForeignOptions {
  std::int32_t input_height = 0;  // 0 = what the model says
  std::int32_t input_width = 0;
  std::int32_t threads = 1;
  std::string head = "auto";  // of kHeadChoices (passes.hpp)
  InputChoice picture = {};   // what the user says of it
  std::map<std::string, std::string> metadata = {};  // and in place of the model's metadata
};
// One layer (OpType::kForeign) between its picture and its outputs, and what the provider needs to
// run it.
struct ForeignModel {
  NetworkDefinition network;
  SharedBytes artifact;
};

// Everything that the rest knows about a provider: one row of providers().
struct Provider {
  std::string_view name;
  // Whether this machine has what it needs; null if it needs nothing. Errors: what is missing, and
  // where it was looked for.
  Result<> (*available)() = nullptr;
  // Its version, its libraries' and what it finds on this machine: part of a plan's cache key.
  std::string (*identity)() = nullptr;
  // `lowered` comes from lower(), `info` from describe_engine() for it. A provider may lower
  // max_batch and threads in its engine's info. Tactics that it does not have are as good as none;
  // it may report them. Errors: kUnsupported, naming the layer that it cannot run and why.
  // `artifact` is what build() or take_over() made for this network, empty without.
  Result<std::shared_ptr<const Engine>> (*load)(NetworkDefinition lowered, EngineInfo info,
                                                const LayerTactics& tactics,
                                                const SharedBytes& artifact) = nullptr;
  // What is worth to be kept in the plan, opaque to everybody else: compiled kernels, a library's
  // own engine. Null if nothing is. Errors: load()'s.
  Result<SharedBytes> (*build)(const NetworkDefinition& lowered, const EngineInfo& info) = nullptr;
  // Takes a model file over that the parser refuses. Null for a provider that runs networks only.
  // Errors: kUnsupported, naming what it cannot do with it.
  Result<ForeignModel> (*take_over)(const std::filesystem::path& model,
                                    const ForeignOptions& options) = nullptr;
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

// Best first, "reference" last: the rows of provider_list.hpp. A program may define it itself, with
// other rows.
std::span<const Provider> providers();
// Errors: kInvalidArgument for a name that is not in the list; the message has the list.
Result<const Provider*> find_provider(std::string_view name);
std::vector<std::string> provider_names();

// A choice for `provider` beside the names above: the first of providers(), and for a model that it
// cannot run the first one that is available and takes models over, with a warning.
inline constexpr std::string_view kAutoProvider = "auto";
// provider_names(), with "auto" in front: what users may write.
std::vector<std::string> provider_choices();
// The row that `choice` begins with: the named one's, or the first for "auto". Errors:
// find_provider()'s.
Result<const Provider*> first_provider(std::string_view choice);
// identity() of every provider that `choice` may come to. REQUIRES: a choice that exists.
std::string identity_of(std::string_view choice);

// The bindings of an engine for `lowered`: input u8 [height, width, 3]; the network's [N, C, H, W] as
// f32 [h, w, channels] where its head says so (HeadSpec::channels_last); other outputs in their own
// order; all without the batch extent. Errors:
// kInvalidArgument for options out of range or a network that did not come from lower().
Result<EngineInfo> describe_engine(const NetworkDefinition& lowered, std::string_view provider,
                                   const EngineOptions& options);

// Batch size and memory of one enqueue() call. Errors: kInvalidArgument, naming the item.
enum class TakesDeviceMemory : bool { kNo, kYes };
Result<> check_batch(std::span<const BatchItem> batch, const EngineInfo& info,
                     TakesDeviceMemory device = TakesDeviceMemory::kNo);

}  // namespace fovea::engine
