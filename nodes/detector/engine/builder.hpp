// From a model file to a plan, and from a plan to an engine: the engine's front door.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "nodes/detector/engine/engine.hpp"
#include "nodes/detector/engine/plan/plan.hpp"
#include "nodes/detector/engine/quantization/quantizer.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine {

struct BuilderConfig {
  std::string provider = "cpu";    // a name of providers()
  Precision precision = Precision::kFp32;
  std::int32_t max_batch = 1;      // 1..kMaxBatch
  std::int32_t threads = 1;        // 1..kMaxThreads, of one execution context
  bool keep_output0 = false;  // the model's own output in full, instead of the raw maps of its head
  // Input size for models that leave it open; 0 = what the model says (its input, else metadata
  // "imgsz"). Another size than a fixed model's is an error.
  std::int32_t input_height = 0;
  std::int32_t input_width = 0;
  // Instead of one size and max_batch, which is then the profile's: a range of sizes for models
  // that leave theirs open. Empty = none.
  OptimizationProfile profile = {};
  // For int8, and required there: what calibrate() learnt about this model, and how to use it.
  std::shared_ptr<const CalibrationTable> calibration;
  QuantizationChoice quantization;
  TuningConfig tuning = {};
  // For an fp32 plan that is to be quantised: LoweringOptions::adopt_quantization. int8 implies it.
  bool adopt_quantization = false;
  // What the model's outputs are, of kHeadChoices (passes.hpp): "auto" finds out.
  std::string head = "auto";
  // What the user says of how a picture becomes the input; the model says the rest.
  InputChoice picture = {};
  // What the user says in place of the model's metadata, by their keys: "task", "names".
  std::map<std::string, std::string> metadata = {};
};
inline constexpr std::int32_t kMaxBatch = 64;
inline constexpr std::int32_t kMaxThreads = 256;

// Parses, lowers and checks. Also compiles it once, so that a plan that is returned can be loaded
// here. Errors: those of parse_onnx(), the passes and the provider; kInvalidArgument for the
// configuration.
Result<Plan> build_plan(const std::filesystem::path& model, const BuilderConfig& config,
                        const Progress& progress = {});

// Bindings, head and names of what build_plan() would make of the model, in the time that parsing
// and lowering it take. Errors: those of parse_onnx() and the passes;
// kInvalidArgument for the configuration.
Result<EngineInfo> preview_engine(const std::filesystem::path& model, const BuilderConfig& config);

// Whether tune_plan() would measure anything: not at level 0, nor for a provider without tactics.
bool can_be_tuned(const BuilderConfig& config);

// Replaces plan.tactics by what suits this machine, and plan.threads if config.thread_counts leaves a
// choice; a timing cache makes that quick and repeatable.
// Level 0 leaves the plan without. What cannot be tuned is said in the report, not an error.
// Errors: load_engine()'s.
Result<> tune_plan(Plan& plan, const TuningConfig& config, const Progress& progress = {});

// Tactics that the plan names and its layers do not have are declined (EngineInspection::declined).
// Errors: kUnsupported for a provider, precision or layer that this build cannot run, kCorrupt for
// a plan whose graph contradicts itself.
//
// `size`, [height, width, 3], is the one size that the engine is for. Without, a plan with a
// profile of sizes gives an engine whose contexts can be told one
// (ExecutionContext::set_input_shape()). kInvalidArgument for a size that the plan does not run;
// see at_size().
Result<std::shared_ptr<const Engine>> load_engine(const Plan& plan, const Dims& size = {});

}  // namespace fovea::engine
