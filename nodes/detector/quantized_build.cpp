// See quantized_build.hpp.
#include "nodes/detector/quantized_build.hpp"

#include <utility>

#include <fmt/format.h>

#include "nodes/detector/engine/builder.hpp"

namespace fovea {

namespace {

Result<engine::Plan> candidate(const QuantizedBuildRequest& request,
                               const engine::QuantizationChoice& choice) {
  engine::Plan plan = request.fp32;
  FOVEA_TRY(engine::quantize(plan.network, request.table, choice));
  plan.precision = "int8";
  return plan;
}

QuantizedBuild finished(engine::Plan plan, GuardReport report) {
  plan.accuracy_report = to_json(report);
  return {std::move(plan), std::move(report)};
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

// f32 after all, or the error that says why not int8.
Result<QuantizedBuild> without_int8(const QuantizedBuildRequest& request, GuardReport report,
                                    const std::string& reason) {
  if (!request.best) return fail(ErrorCode::kUnsupported, reason);
  report.accepted.reset();
  report.verdict = "fp32: " + reason;
  return finished(request.fp32, report);
}

}  // namespace

Result<QuantizedBuild> build_quantized(const QuantizedBuildRequest& request,
                                       const PictureReader& reader,
                                       const engine::Progress& progress) {
  GuardReport report;
  report.options = request.guard;
  const engine::QuantizationChoice recipe{request.guard.rule, false, {}};
  FOVEA_ASSIGN(engine::Plan plan, candidate(request, recipe));
  if (auto engine = engine::load_engine(plan); !engine) {
    if (engine.error().code != ErrorCode::kUnsupported) return fail(engine.error());
    return without_int8(request, std::move(report), engine.error().message);
  }
  if (!request.samples) {
    report.verdict = fmt::format("int8 ({}): its accuracy was not measured", to_string(recipe));
    return finished(std::move(plan), report);
  }
  GuardProgress bar(progress);
  FOVEA_ASSIGN(auto fp32, engine::load_engine(request.fp32));
  FOVEA_ASSIGN(
      const AccuracyMeter meter,
      AccuracyMeter::create(std::move(fp32), *request.samples, reader,
                            [&](std::string_view stage, double done) { bar.fp32(stage, done); }));
  report.labelled = meter.labelled();
  report.pictures = meter.pictures();
  report.fp32 = meter.fp32();
  FOVEA_ASSIGN(const auto layers, engine::quantizable_layers(request.fp32.network));
  const auto measure = [&](const engine::QuantizationChoice& choice,
                           Extent extent) -> Result<Measurement> {
    FOVEA_ASSIGN(const engine::Plan quantised, candidate(request, choice));
    FOVEA_ASSIGN(auto engine, engine::load_engine(quantised));
    return meter.measure(std::move(engine), extent, [&](double done) { bar.candidate(done); });
  };
  FOVEA_ASSIGN(report,
               search_quantization(std::move(report), layers, request.guard, measure,
                                   [&](std::string_view stage, double) { bar.begin(stage); }));
  if (progress) progress("accuracy", 1);
  if (!report.accepted) {
    return without_int8(request, report, report.verdict);
  }
  const GuardTrial& chosen = report.trials[*report.accepted];
  if (request.best && chosen.measured.seconds >= report.fp32.seconds) {
    return without_int8(
        request, report,
        fmt::format("{}, but it is not faster here: {:.1f} ms against {:.1f} ms", report.verdict,
                    1e3 * chosen.measured.seconds, 1e3 * report.fp32.seconds));
  }
  FOVEA_ASSIGN(plan, candidate(request, chosen.choice));
  return finished(std::move(plan), report);
}

}  // namespace fovea
