// The order of search: what costs no run time first, then what costs least of it.
#include "nodes/detector/accuracy/accuracy_guard.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace fovea {

namespace {

using engine::QuantizableLayer;
using engine::QuantizationChoice;
using engine::RangeRule;
using Json = nlohmann::ordered_json;

// For the verdict: " by OKS agreement"; nothing of boxes, which go without saying.
std::string judged_by(Task task) {
  return task == Task::kDetect ? "" : fmt::format(" by {}", metric_names(task).agreement);
}

class Search {
 public:
  Search(GuardReport report, const std::vector<QuantizableLayer>& layers, const Measure& measure,
         const engine::Progress& progress)
      : report_(std::move(report)), layers_(layers), measure_(measure), progress_(progress) {
    for (const QuantizableLayer& layer : layers) total_macs_ += layer.macs;
  }

  Result<GuardReport> run() {
    QuantizationChoice choice;
    choice.rule = report_.options.rule;
    FOVEA_ASSIGN(bool done, accept("recipe", choice));
    if (!done) {
      FOVEA_ASSIGN(done, try_ranges(choice));
    }
    if (!done) {
      choice.exact_activations = true;
      FOVEA_ASSIGN(done, accept("exact activations", choice));
    }
    if (!done) {
      FOVEA_ASSIGN(done, lift_from_the_input(choice));
    }
    if (!done) {
      FOVEA_ASSIGN(done, lift_the_worst(choice));
    }
    report_.verdict = verdict();
    return std::move(report_);
  }

 private:
  double lifted_macs(const QuantizationChoice& choice) const {
    std::uint64_t sum = 0;
    for (const QuantizableLayer& layer : layers_) {
      if (is_lifted(choice, layer)) sum += layer.macs;
    }
    return total_macs_ == 0 ? 0 : 100 * static_cast<double>(sum) / static_cast<double>(total_macs_);
  }
  static bool is_lifted(const QuantizationChoice& choice, const QuantizableLayer& layer) {
    return std::find(choice.lifted.begin(), choice.lifted.end(), layer.name) != choice.lifted.end();
  }

  // `stage`: what progress says, if not the step.
  Result<GuardTrial> measured(std::string step, const QuantizationChoice& choice, Extent extent,
                              const std::string& stage = {}) {
    if (progress_) progress_("accuracy: " + (stage.empty() ? step : stage), 0);
    GuardTrial trial{std::move(step), choice, extent, {}, lifted_macs(choice)};
    FOVEA_ASSIGN(trial.measured, measure_(choice, extent));
    report_.trials.push_back(trial);
    return trial;
  }

  // Measures on all pictures; true if that ends the search.
  Result<bool> accept(std::string step, const QuantizationChoice& choice) {
    FOVEA_ASSIGN(const GuardTrial trial, measured(std::move(step), choice, Extent::kAll));
    if (!within_budget(report_, trial.measured)) return false;
    report_.accepted = report_.trials.size() - 1;
    return true;
  }

  // Leaves the rule with the least dlogit in `choice`.
  Result<bool> try_ranges(QuantizationChoice& choice) {
    const RangeRule first = choice.rule;
    std::optional<std::pair<double, RangeRule>> best;
    for (const RangeRule rule : {first, RangeRule::kPercentile, RangeRule::kWidePercentile,
                                 RangeRule::kMse, RangeRule::kMinMax}) {
      if (best && rule == first) continue;
      choice.rule = rule;
      FOVEA_ASSIGN(const GuardTrial trial,
                   measured(fmt::format("ranges {}", to_string(rule)), choice, Extent::kRanking));
      if (!best || trial.measured.dlogit < best->first) best = {trial.measured.dlogit, rule};
    }
    choice.rule = best->second;
    if (choice.rule == first) return false;
    return accept(fmt::format("ranges {}", to_string(choice.rule)), choice);
  }

  // The first layer, the first two, all before stride 8, all before stride 16: an early error
  // crosses every later layer, and these layers have few multiplications.
  Result<bool> lift_from_the_input(QuantizationChoice& choice) {
    const auto before = [&](std::int64_t stride) {
      const auto end = std::find_if(layers_.begin(), layers_.end(),
                                    [&](const auto& layer) { return layer.stride >= stride; });
      return static_cast<std::size_t>(end - layers_.begin());
    };
    std::size_t lifted = 0;
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, before(8), before(16)}) {
      if (count <= lifted || count >= layers_.size()) continue;
      QuantizationChoice longer = choice;
      longer.lifted.clear();
      for (std::size_t i = 0; i < count; ++i) longer.lifted.push_back(layers_[i].name);
      if (lifted_macs(longer) > report_.options.max_lifted_macs) break;
      lifted = count;
      choice = std::move(longer);
      FOVEA_ASSIGN(const bool done,
                   accept(count == 1 ? "lift the first layer"
                                     : fmt::format("lift the first {} layers", count),
                          choice));
      if (done) return true;
    }
    return false;
  }

  // By dlogit^2 per multiplication of each layer quantised alone: errors add as squares.
  Result<bool> lift_the_worst(QuantizationChoice& choice) {
    struct Candidate {
      const QuantizableLayer* layer;
      double gain;
    };
    std::vector<Candidate> candidates;
    for (const QuantizableLayer& layer : layers_) {
      if (is_lifted(choice, layer)) continue;
      QuantizationChoice alone = choice;
      alone.lifted.clear();
      for (const QuantizableLayer& other : layers_) {
        if (other.name != layer.name) alone.lifted.push_back(other.name);
      }
      const std::string stage = fmt::format("layer {} of {} alone", candidates.size() + 1,
                                            layers_.size() - choice.lifted.size());
      FOVEA_ASSIGN(const GuardTrial trial,
                   measured("only " + layer.name, alone, Extent::kRanking, stage));
      const double dlogit = trial.measured.dlogit;
      candidates.push_back(
          {&layer, dlogit * dlogit / static_cast<double>(std::max<std::uint64_t>(layer.macs, 1))});
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.gain > b.gain; });
    // A measurement for each further layer would take an hour; twice as many each time.
    std::size_t next = 0;
    for (std::size_t step = 1; next + 1 < candidates.size(); step *= 2) {
      const std::size_t end = std::min(next + step, candidates.size() - 1);
      for (; next < end; ++next) choice.lifted.push_back(candidates[next].layer->name);
      if (lifted_macs(choice) > report_.options.max_lifted_macs) break;
      FOVEA_ASSIGN(const bool done,
                   accept(fmt::format("lift {} layers", choice.lifted.size()), choice));
      if (done) return true;
    }
    return false;
  }

  std::string verdict() const {
    const auto outcome = [&](const GuardTrial& trial) {
      const Measurement& m = trial.measured;
      return report_.labelled
                 ? fmt::format("loses {:.2f} +- {:.2f} points of {} ({:.2f} of {:.2f})", m.loss,
                               m.half_width, metric_names(report_.task).map50_95, m.score.map50_95,
                               report_.fp32.score.map50_95)
                 : fmt::format("agrees with f32 to {:.1f} of 100 points{}", m.agreement,
                               judged_by(report_.task));
    };
    const std::string budget =
        report_.labelled ? fmt::format("{} points of loss", report_.options.max_map_loss)
                         : fmt::format("{} points of agreement", report_.options.min_agreement);
    if (report_.accepted) {
      const GuardTrial& trial = report_.trials[*report_.accepted];
      std::string text = fmt::format("int8 ({}) {}; the budget is {}", to_string(trial.choice),
                                     outcome(trial), budget);
      if (report_.labelled && trial.measured.half_width > report_.options.max_map_loss) {
        text += fmt::format("; {} pictures do not resolve that budget", report_.pictures);
      }
      return text;
    }
    const GuardTrial* best = nullptr;
    for (const GuardTrial& trial : report_.trials) {
      if (trial.extent != Extent::kAll) continue;
      const auto worth = [&](const GuardTrial& t) {
        return report_.labelled ? -t.measured.loss : t.measured.agreement;
      };
      if (best == nullptr || worth(trial) > worth(*best)) best = &trial;
    }
    return fmt::format(
        "int8 refused: the best that was reached ({}, {:.0f} % of the work in f32) "
        "{}; the budget is {}",
        best->step, best->lifted_macs, outcome(*best), budget);
  }

  GuardReport report_;
  const std::vector<QuantizableLayer>& layers_;
  const Measure& measure_;
  const engine::Progress& progress_;
  std::uint64_t total_macs_ = 0;
};

// Keys of a score in the report's JSON.
struct ScoreKeys {
  const char* map50;
  const char* map50_95;
  const char* box_map50_95;   // null: there is none
  const char* lax_agreement;  // null: there is none
};
ScoreKeys score_keys(Task task) {
  if (task == Task::kClassify) return {"top5", "top1", nullptr, "top5_agreement"};
  if (task == Task::kSemantic) return {"pixel_accuracy", "miou", nullptr, "pixel_agreement"};
  if (task == Task::kDepth) return {"delta1", "one_minus_abs_rel", nullptr, "delta1_agreement"};
  if (task == Task::kDetect) return {"map50", "map50_95", nullptr, nullptr};
  return {"map50", "map50_95", "box_map50_95", "box_agreement"};
}

Json described(const Measurement& m, Task task, bool labelled) {
  const ScoreKeys keys = score_keys(task);
  Json json = Json::object();
  if (labelled) {
    json[keys.map50] = m.score.map50;
    json[keys.map50_95] = m.score.map50_95;
    if (keys.box_map50_95 != nullptr) json[keys.box_map50_95] = m.score.box_map50_95;
    json["loss"] = m.loss;
    json["loss_half_width"] = m.half_width;
  }
  json["agreement"] = m.agreement;
  if (keys.lax_agreement != nullptr) json[keys.lax_agreement] = m.lax_agreement;
  json["dlogit"] = m.dlogit;
  return json;
}

}  // namespace

bool accepts_anything(const GuardOptions& options, bool labelled) {
  return labelled ? options.max_map_loss >= 100 : options.min_agreement <= 0;
}

bool within_budget(const GuardReport& report, const Measurement& m) {
  return report.labelled ? m.loss <= report.options.max_map_loss
                         : m.agreement >= report.options.min_agreement;
}

Result<GuardReport> search_quantization(GuardReport report,
                                        const std::vector<QuantizableLayer>& layers,
                                        const GuardOptions& options, const Measure& measure,
                                        const engine::Progress& progress) {
  report.options = options;
  report.trials.clear();
  report.accepted.reset();
  return Search(std::move(report), layers, measure, progress).run();
}

std::vector<std::string> summary(const GuardReport& report) {
  const auto line = [&](std::string_view name, const Measurement& m) {
    const std::string time = m.seconds > 0 ? fmt::format("  {:6.2f} ms", 1e3 * m.seconds) : "";
    const MetricNames& names = metric_names(report.task);
    std::string text = fmt::format("{:<5} ", name);
    if (report.labelled) {
      text += fmt::format("{} {:5.2f}  {} {:5.2f}", names.map50_95, m.score.map50_95, names.map50,
                          m.score.map50);
      if (!names.box_map50_95.empty()) {
        text += fmt::format("  {} {:5.2f}", names.box_map50_95, m.score.box_map50_95);
      }
    } else {
      text += fmt::format("{} {:5.1f}", names.agreement, m.agreement);
      if (!names.lax_agreement.empty()) {
        text += fmt::format("  {} {:5.1f}", names.lax_agreement, m.lax_agreement);
      }
    }
    return text + time;
  };
  std::vector<std::string> lines = {fmt::format("accuracy on {} {} pictures:", report.pictures,
                                                report.labelled ? "labelled" : "unlabelled"),
                                    line("fp32", report.fp32)};
  for (const auto& [precision, measured] : report.halves) {
    lines.push_back(line(to_string(precision), measured));
  }
  for (const GuardTrial& trial : report.trials) {
    if (trial.extent != Extent::kAll) continue;
    if (report.trials.size() > 1) {
      lines.push_back(line("int8", trial.measured) + ": " + trial.step);
    } else {
      lines.push_back(line("int8", trial.measured));
    }
  }
  if (report.accepted) {
    const QuantizationChoice& choice = report.trials[*report.accepted].choice;
    if (choice.lifted.empty()) {
      lines.push_back("lifted to fp32: nothing");
    } else {
      lines.push_back(
          fmt::format("lifted to fp32, {:.1f} % of the work, as int8 throughout misses "
                      "the budget: {}",
                      report.trials[*report.accepted].lifted_macs, fmt::join(choice.lifted, ", ")));
    }
    if (choice.exact_activations) {
      lines.push_back("activations are exact, which takes about an eighth longer");
    }
  }
  return lines;
}

std::string to_json(const GuardReport& report) {
  Json trials = Json::array();
  for (const GuardTrial& trial : report.trials) {
    Json json = {{"step", trial.step},
                 {"choice", to_string(trial.choice)},
                 {"pictures", trial.extent == Extent::kAll ? "all" : "ranking"},
                 {"lifted_macs_percent", trial.lifted_macs}};
    json.update(
        described(trial.measured, report.task, report.labelled && trial.extent == Extent::kAll));
    trials.push_back(std::move(json));
  }
  Json json = {
      {"verdict", report.verdict}, {"labelled", report.labelled}, {"pictures", report.pictures}};
  if (report.task != Task::kDetect) {
    const MetricNames& names = metric_names(report.task);
    json["task"] = kTaskNames[static_cast<std::size_t>(report.task)];
    json["judged_by"] = report.labelled ? names.map50_95 : names.agreement;
  }
  if (report.labelled) {
    json["max_map_loss"] = report.options.max_map_loss;
    const ScoreKeys keys = score_keys(report.task);
    json[std::string("fp32_") + keys.map50] = report.fp32.score.map50;
    json[std::string("fp32_") + keys.map50_95] = report.fp32.score.map50_95;
    if (keys.box_map50_95 != nullptr) {
      json[std::string("fp32_") + keys.box_map50_95] = report.fp32.score.box_map50_95;
    }
  } else {
    json["min_agreement"] = report.options.min_agreement;
  }
  for (const auto& [precision, measured] : report.halves) {
    json[std::string(to_string(precision))] = described(measured, report.task, report.labelled);
  }
  if (!report.unmeasurable.empty()) json["unmeasurable"] = report.unmeasurable;
  json["accepted"] = report.accepted ? Json(*report.accepted) : Json(nullptr);
  json["trials"] = std::move(trials);
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fovea
