// Finds an int8 engine that is accurate enough, or refuses: tries the recipe, then other ranges,
// exact activations and layers lifted to f32, cheapest first, until the loss is within budget.
//
// Candidates are ranked by how far class logits move (dlogit), which 50 pictures resolve, and
// accepted by the task's own measure (mAP; of a classifier, top-1), which they do not. The search
// knows neither engines nor pictures: it calls `measure`.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nodes/detector/accuracy/task_accuracy.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/quantization/quantizer.hpp"

namespace fovea {

// Against the same network in f32 on the same pictures. Accuracies and losses in points of 0..100.
struct Measurement {
  TaskScore score;        // labelled sets only
  double loss = 0;        // of score.map50_95; labelled sets only
  double half_width = 0;  // of the loss's 90 % interval
  // mAP50-95, by the task's own measure, of its detections if f32's of score >= 0.25 were the truth,
  // all classes pooled. Of a classifier: pictures whose best class is f32's.
  double agreement = 0;
  // The same by boxes alone (kSegment, kPose, kObb). Of a classifier: pictures of which f32's best
  // class is among the five best. Decides nothing.
  double lax_agreement = 0;
  // RMS change of the class logits above -3 on anchors whose best f32 logit is above -2; of a
  // classifier, of the logarithms of f32's probabilities above 0.01. For networks without such
  // logits: 100 - agreement. The keypoints, angles or mask coefficients of those anchors count as
  // much, in units that make their spread that of the logits; squares are summed.
  double dlogit = 0;
  double seconds = 0;  // of one inference, median: a busy moment does not decide
};

enum class Extent { kRanking, kAll };  // some 50 pictures, or all
using Measure =
    std::function<Result<Measurement>(const engine::QuantizationChoice& choice, Extent extent)>;

struct GuardOptions {
  double max_map_loss = 0.5;    // points; labelled sets
  double min_agreement = 93;    // points; unlabelled sets. 95 is what a good int8 network reaches
  double max_lifted_macs = 50;  // per cent; beyond that int8 is not worth it
  engine::RangeRule rule = engine::RangeRule::kPercentile;  // where the search begins
};

struct GuardTrial {
  std::string step;  // "recipe", "ranges mse", "exact activations", "lift 2 layers", ...
  engine::QuantizationChoice choice;
  Extent extent = Extent::kAll;
  Measurement measured;
  double lifted_macs = 0;  // per cent
};

struct GuardReport {
  Task task = Task::kDetect;
  bool labelled = false;
  std::size_t pictures = 0;
  Measurement fp32;
  // For `best`: fp16 and bf16, where the CPU has the arithmetic.
  std::vector<std::pair<engine::Precision, Measurement>> halves;
  GuardOptions options;
  std::vector<GuardTrial> trials;       // in order
  std::optional<std::size_t> accepted;  // index into trials
  std::string verdict;                  // one sentence for people
  // Why nothing can be measured on these pictures, whatever the engine; empty if it can.
  std::string unmeasurable;
};

// Whether the options let every engine pass, so that measuring is no condition.
bool accepts_anything(const GuardOptions& options, bool labelled);

// Whether `m` is as accurate as report.options ask; never for NaN.
bool within_budget(const GuardReport& report, const Measurement& m);

// `report` comes with labelled, pictures and fp32 filled in; search_quantization() fills in the
// rest. `progress` hears each step's name before it is measured. A report without `accepted` means
// that int8 is refused. Errors: `measure`'s.
Result<GuardReport> search_quantization(GuardReport report,
                                        const std::vector<engine::QuantizableLayer>& layers,
                                        const GuardOptions& options, const Measure& measure,
                                        const engine::Progress& progress = {});

std::string to_json(const GuardReport& report);

// What was measured and what was given up for it, line by line, for people. Times are those of this
// machine, now; they are no part of to_json(), for equal builds have equal bytes.
std::vector<std::string> summary(const GuardReport& report);

}  // namespace fovea
