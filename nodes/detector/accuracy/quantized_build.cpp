#include "nodes/detector/accuracy/quantized_build.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/detector/engine/builder.hpp"

namespace fovea {

using engine::Precision;

namespace {

Result<engine::Plan> candidate(const QuantizedBuildRequest& request,
                               const engine::QuantizationChoice& choice) {
  engine::Plan plan = request.fp32;
  FOVEA_TRY(engine::quantize(plan.network, request.table, choice));
  plan.precision = Precision::kInt8;
  return plan;
}

QuantizedBuild finished(engine::Plan plan, GuardReport report) {
  plan.accuracy_report = to_json(report);
  return {std::move(plan), std::move(report), {}};
}

// Of the guard's work: f32 once over all pictures, then as a rule one candidate, which is faster.
// Further candidates share what is left, each half of it, so that the bar never goes back.
class GuardProgress {
 public:
  explicit GuardProgress(const engine::Progress& progress) : progress_(progress) {}

  void fp32(std::string_view stage, double done) const { report(stage, kFp32 * done); }
  void begin(std::string_view stage) {
    stage_ = stage;
    from_ = std::exchange(to_, to_ < kFirst ? kFirst : (1 + to_) / 2);
  }
  void candidate(double done) const { report(stage_, from_ + (to_ - from_) * done); }

 private:
  static constexpr double kFp32 = 0.65;
  static constexpr double kFirst = 0.95;

  void report(std::string_view stage, double done) const {
    if (progress_) progress_(stage, done);
  }

  const engine::Progress& progress_;
  std::string stage_;
  double from_ = 0;
  double to_ = kFp32;
};

// What `best` chooses from, and why the others are out.
class Choice {
 public:
  void add(Precision precision, double seconds) {
    const bool is_first = times_.empty();
    times_.push_back(fmt::format("{} {:.2f}", to_string(precision), 1e3 * seconds));
    if (!is_first && seconds >= seconds_) return;
    fastest_ = precision;
    seconds_ = seconds;
  }
  void leave_out(Precision precision, const std::string& reason) {
    left_out_ += fmt::format("; {} left out: {}", to_string(precision), reason);
  }
  Precision fastest() const { return fastest_; }
  std::string reason() const {
    return fmt::format("best: {}; ms a picture here: {}{}", to_string(fastest_),
                       fmt::join(times_, ", "), left_out_);
  }

 private:
  Precision fastest_ = Precision::kFp32;
  double seconds_ = 0;
  std::vector<std::string> times_;
  std::string left_out_;
};

constexpr std::array kHalves = {Precision::kFp16, Precision::kBf16};

// In those half precisions that this CPU does not run as fp32 anyway.
std::vector<engine::Plan> half_precisions(const engine::Plan& fp32) {
  std::vector<engine::Plan> plans;
  for (const Precision precision : kHalves) {
    engine::Plan plan = fp32;
    plan.precision = precision;
    if (!engine::use_half_precision(plan.network, precision)) continue;
    const auto engine = engine::load_engine(plan);
    if (engine && (*engine)->info().precision == precision) plans.push_back(std::move(plan));
  }
  return plans;
}

// fp32, the half precisions, and int8 by the guard's search.
Result<GuardReport> measured(const QuantizedBuildRequest& request, GuardReport report,
                             const std::vector<engine::Plan>& halves, bool int8,
                             const PictureReader& reader, const engine::Progress& progress) {
  GuardProgress bar(progress);
  FOVEA_ASSIGN(auto fp32, engine::load_engine(request.fp32));
  FOVEA_ASSIGN(
      const AccuracyMeter meter,
      AccuracyMeter::create(std::move(fp32), *request.samples, reader,
                            [&](std::string_view stage, double done) { bar.fp32(stage, done); }));
  report.task = meter.task();
  report.labelled = meter.labelled();
  report.pictures = meter.pictures();
  report.fp32 = meter.fp32();
  if (meter.findings() == 0) {
    report.unmeasurable =
        report.labelled ? fmt::format("fp32 reaches {} 0.0 on the {} labelled pictures",
                                      metric_names(report.task).map50_95, meter.pictures())
        : !finds_objects(report.task)
            ? fmt::format("fp32 gives no finite numbers on the {} pictures", meter.pictures())
            : fmt::format(
                  "fp32 finds nothing (no detection of score 0.25 or more) on the {} pictures",
                  meter.pictures());
    if (progress) progress("accuracy", 1);
    return report;
  }
  const auto measure = [&](const engine::Plan& plan, Extent extent) -> Result<Measurement> {
    FOVEA_ASSIGN(auto engine, engine::load_engine(plan));
    return meter.measure(std::move(engine), extent, [&](double done) { bar.candidate(done); });
  };
  for (const engine::Plan& half : halves) {
    bar.begin(fmt::format("accuracy: {}", to_string(half.precision)));
    FOVEA_ASSIGN(const Measurement result, measure(half, Extent::kAll));
    report.halves.emplace_back(half.precision, result);
  }
  if (int8) {
    FOVEA_ASSIGN(const auto layers, engine::quantizable_layers(request.fp32.network));
    const auto quantised = [&](const engine::QuantizationChoice& choice,
                               Extent extent) -> Result<Measurement> {
      FOVEA_ASSIGN(const engine::Plan plan, candidate(request, choice));
      return measure(plan, extent);
    };
    FOVEA_ASSIGN(report,
                 search_quantization(std::move(report), layers, request.guard, quantised,
                                     [&](std::string_view stage, double) { bar.begin(stage); }));
  }
  if (progress) progress("accuracy", 1);
  return report;
}

// The answer to `best`. `halves` are the plans that were measured beside int8, `int8_reason` says
// why int8 was not even tried.
Result<QuantizedBuild> fastest(const QuantizedBuildRequest& request, GuardReport report,
                               const std::vector<engine::Plan>& halves,
                               const std::string& int8_reason) {
  Choice choice;
  choice.add(Precision::kFp32, report.fp32.seconds);
  for (const Precision precision : kHalves) {
    const auto found =
        std::find_if(report.halves.begin(), report.halves.end(),
                     [&](const auto& measured) { return measured.first == precision; });
    if (found == report.halves.end()) {
      choice.leave_out(precision, "this CPU has no arithmetic for it");
    } else if (within_budget(report, found->second)) {
      choice.add(precision, found->second.seconds);
    } else {
      choice.leave_out(precision, "beyond the budget");
    }
  }
  if (report.accepted) {
    choice.add(Precision::kInt8, report.trials[*report.accepted].measured.seconds);
  } else {
    choice.leave_out(Precision::kInt8, int8_reason.empty() ? "beyond the budget" : int8_reason);
  }
  QuantizedBuild built{request.fp32, std::move(report), choice.reason()};
  if (choice.fastest() == Precision::kInt8) {
    FOVEA_ASSIGN(built.plan,
                 candidate(request, built.report.trials[*built.report.accepted].choice));
  } else {
    for (const engine::Plan& half : halves) {
      if (half.precision == choice.fastest()) built.plan = half;
    }
    const std::string why = built.report.accepted
                                ? built.report.verdict + ", but it is not the fastest here"
                            : int8_reason.empty() ? built.report.verdict
                                                  : int8_reason;
    built.report.accepted.reset();
    built.report.verdict = fmt::format("{}: {}", to_string(choice.fastest()), why);
  }
  built.plan.accuracy_report = to_json(built.report);
  return built;
}

// What becomes of a build whose pictures show nothing: `plan` is the recipe's.
Result<QuantizedBuild> unmeasured(const QuantizedBuildRequest& request, GuardReport report,
                                  engine::Plan plan) {
  const bool accepted = accepts_anything(request.guard, report.labelled);
  const std::string why = "nothing can be measured: " + report.unmeasurable;
  if (accepted) {
    report.verdict =
        fmt::format("int8 ({}): its accuracy is unmeasured, as allowed; {}",
                    to_string(engine::QuantizationChoice{request.guard.rule, false, {}}), why);
    QuantizedBuild built = finished(std::move(plan), std::move(report));
    if (request.best) built.reason = "best: int8, taken unmeasured; " + why;
    return built;
  }
  if (request.best) {
    report.verdict = "fp32: " + why;
    QuantizedBuild built = finished(request.fp32, std::move(report));
    built.reason = "best: fp32; " + why;
    return built;
  }
  return fail(ErrorCode::kUnsupported,
              fmt::format("int8 refused: {}; give pictures with objects that the model finds "
                          "(--verify, or --calib without it), or take int8 unmeasured with {}",
                          why, report.labelled ? "--max-map-loss 100" : "--min-agreement 0"));
}

}  // namespace

Result<QuantizedBuild> build_quantized(const QuantizedBuildRequest& request,
                                       const PictureReader& reader,
                                       const engine::Progress& progress) {
  GuardReport report;
  report.options = request.guard;
  const engine::QuantizationChoice recipe{request.guard.rule, false, {}};
  FOVEA_ASSIGN(engine::Plan plan, candidate(request, recipe));
  const auto engine = engine::load_engine(plan);
  if (!engine && (engine.error().code != ErrorCode::kUnsupported || !request.best)) {
    return fail(engine.error());
  }
  std::string reason;  // why not int8
  if (!engine) {
    reason = engine.error().message;
  } else if ((*engine)->info().precision != Precision::kInt8) {
    const auto declined = (*engine)->inspect().declined;
    reason = fmt::format("int8 engines run as fp32 here{}{}", declined.empty() ? "" : ": ",
                         declined.empty() ? "" : declined.front());
  }
  if (request.best && !reason.empty() && !request.samples) {
    report.verdict = "fp32: " + reason;
    return finished(request.fp32, std::move(report));
  }
  if (!request.samples || (!request.best && !reason.empty())) {
    report.verdict = fmt::format("int8 ({}): its accuracy was not measured{}{}", to_string(recipe),
                                 reason.empty() ? "" : "; ", reason);
    QuantizedBuild built = finished(std::move(plan), std::move(report));
    if (request.best) {
      built.reason =
          "best: int8, taken unmeasured: no pictures to measure with; nothing else was timed";
    }
    return built;
  }
  std::vector<engine::Plan> halves;
  if (request.best) halves = half_precisions(request.fp32);
  FOVEA_ASSIGN(report,
               measured(request, std::move(report), halves, reason.empty(), reader, progress));
  if (!report.unmeasurable.empty()) return unmeasured(request, std::move(report), std::move(plan));
  if (request.best) return fastest(request, std::move(report), halves, reason);
  if (!report.accepted) {
    return fail(ErrorCode::kUnsupported,
                report.verdict +
                    "; --max-map-loss (without labels: --min-agreement) allows more, and "
                    "--precision best falls back to fp32");
  }
  FOVEA_ASSIGN(plan, candidate(request, report.trials[*report.accepted].choice));
  return finished(std::move(plan), std::move(report));
}

}  // namespace fovea
