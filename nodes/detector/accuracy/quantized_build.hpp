// From an f32 plan to the int8 one that may replace it: calibration, guard and decision in one
// call, for the engine tool.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "nodes/detector/accuracy/accuracy_guard.hpp"
#include "nodes/detector/accuracy/accuracy_meter.hpp"
#include "nodes/detector/accuracy/calibration_set.hpp"
#include "nodes/detector/engine/plan/plan.hpp"

namespace fovea {

struct QuantizedBuildRequest {
  engine::Plan fp32;
  engine::CalibrationTable table;
  // Pictures to measure on; without, the plan is the recipe's and its report says that nothing was
  // measured.
  std::optional<SampleSet> samples;
  GuardOptions guard;
  // The fastest of int8, fp16 and bf16 (where the CPU has their arithmetic) and fp32 that is within
  // budget; whatever keeps int8 back is then part of the report instead of an error.
  bool best = false;
};

struct QuantizedBuild {
  engine::Plan plan;   // with accuracy_report
  GuardReport report;  // without trials if nothing was measured
  std::string reason;  // for `best`: what was chosen of which, with this machine's times if taken
};

// Errors: kUnsupported if int8 is refused by the guard or cannot run here (unless `best`), saying
// what was reached; the samples' and the engine's.
Result<QuantizedBuild> build_quantized(const QuantizedBuildRequest& request,
                                       const PictureReader& reader,
                                       const engine::Progress& progress = {});

}  // namespace fovea
