#include "nodes/detector/cache/engine_build.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/accuracy/quantized_build.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea {

namespace {

// What each step takes of the whole, in pictures through the f32 network, so that one bar with one
// estimate runs over all of them.
struct Shares {
  double build = 20;
  double calibrate = 0;
  double guard = 0;
  double tune = 150;

  double all() const { return build + calibrate + guard + tune; }
  double calibrate_from() const { return build / all(); }
  double guard_from() const { return (build + calibrate) / all(); }
  double guard_share() const { return guard / (guard + tune); }  // of guard and tuning
};

constexpr std::size_t kSomePictures = 100;  // of a classifier's set, for progress

class Build {
 public:
  Build(const EngineRequest& request, PlanRequest plan, const PictureReader& reader,
        const EngineBuildEvents& events, CacheUse use)
      : request_(request),
        plan_(std::move(plan)),
        reader_(reader),
        events_(events),
        use_(use),
        cache_(used_cache(engine::build_plan)) {
    plan_.config.tuning.keep_going = events.keep_going;
    plan_.config.tuning.report = events.tuned;
    // A table may stand where a folder of pictures may.
    std::error_code error;
    folder_ = request.calibration;
    table_ = request.calibration_table;
    if (table_.empty() && std::filesystem::is_regular_file(folder_, error)) {
      table_ = std::exchange(folder_, {});
    }
  }

  Result<CachedPlan> run() {
    if (request_.quantizes()) return quantized();
    FOVEA_TRY(check_cached(cache_, plan_));
    return cache_.get_or_build(plan_, events_.progress);
  }

 private:
  PlanCache used_cache(PlanCache::Builder builder) const {
    if (use_ == CacheUse::kTimesOnly) return PlanCache::none(std::move(builder));
    return plan_cache(request_, std::move(builder));
  }
  void inform(std::string_view text) const {
    if (events_.information) events_.information(text);
  }
  void warn(std::string_view text) const {
    if (events_.warning) events_.warning(text);
  }

  Result<> check_cached(const PlanCache& cache, const PlanRequest& plan) const {
    if (use_ != CacheUse::kFindOnly) return {};
    FOVEA_ASSIGN(const CacheStatus status, cache.status(plan));
    if (status.cached) return {};
    return fail(ErrorCode::kNotFound, "not in the cache: " + status.reason);
  }

  // A set of hundreds of pictures takes minutes: stop between two of them.
  Result<Picture> read(const std::string& path) const {
    if (use_ == CacheUse::kFindOnly)
      return fail(ErrorCode::kNotFound, "not calibrated yet with " + path);
    if (events_.keep_going && !events_.keep_going()) {
      return fail(ErrorCode::kUnavailable, "interrupted");
    }
    return reader_(path);
  }

  Result<CachedPlan> quantized() {
    const auto rule = engine::range_rule_from(request_.calibrator);
    QuantizedBuildRequest build;
    build.best = plan_.best;
    build.guard.max_map_loss = request_.max_map_loss;
    build.guard.min_agreement = request_.min_agreement;
    build.guard.rule = rule.value_or(engine::RangeRule::kPercentile);  // it was validated
    FOVEA_TRY(read_folders());
    PlanRequest plain = plan_;
    plain.best = false;
    plain.config.precision = engine::Precision::kFp32;
    plain.config.tuning.level = 0;  // it is calibrated with and measured against, not served
    plain.config.adopt_quantization = true;
    FOVEA_TRY(check_cached(cache_, plain));
    FOVEA_ASSIGN(CachedPlan fp32, cache_.get_or_build(plain, part_of(events_.progress, 0,
                                                                     shares_.calibrate_from())));
    build.fp32 = std::move(fp32.plan);
    FOVEA_TRY(read_samples(build));
    if (folder_.empty() && table_.empty()) {
      FOVEA_ASSIGN(build.table, without_pictures(build.fp32));
    } else {
      FOVEA_ASSIGN(build.table, calibrated(build.fp32, fp32.key));
    }
    if (build.guard.rule == engine::RangeRule::kEntropy) warn_of_entropy(build.table);
    FOVEA_TRY(complete_key(build));
    if (request_.verify.empty() && !folder_.empty()) {
      warn(
          "accuracy is measured on the calibration pictures; --verify FOLDER names others, better "
          "labelled ones");
    }
    const PlanCache guarded =
        used_cache([&](const std::filesystem::path&, const engine::BuilderConfig&,
                       const engine::Progress& progress) { return guarded_plan(build, progress); });
    FOVEA_TRY(check_cached(guarded, plan_));
    return guarded.get_or_build(plan_, part_of(events_.progress, shares_.guard_from(), 1));
  }

  // Empty: accuracy is not measured.
  const std::string& measured_on() const {
    return request_.verify.empty() ? folder_ : request_.verify;
  }

  // What its labels must be is the model's.
  Result<> read_samples(QuantizedBuildRequest& build) const {
    if (measured_on().empty()) return {};
    const engine::NetworkDefinition& network = build.fp32.network;
    FOVEA_ASSIGN(build.samples, read_sample_set(measured_on(), label_format(network.head.spec,
                                                                            network.class_names)));
    return {};
  }

  // Their names: what is missing is said before anything is built.
  Result<> read_folders() {
    if (!measured_on().empty()) {
      const auto pictures = list_pictures(measured_on());
      if (!pictures && class_folders(measured_on()).empty()) return fail(pictures.error());
      shares_.guard = 1.5 * static_cast<double>(pictures ? pictures->size() : kSomePictures);
    }
    if (!folder_.empty()) {
      FOVEA_ASSIGN(const auto pictures, list_pictures(folder_));
      shares_.calibrate =
          2.4 * static_cast<double>(std::min(pictures.size(), CalibrationRequest().most_pictures));
    }
    return {};
  }

  // An empty table, if the model's own quantisation is enough.
  Result<engine::CalibrationTable> without_pictures(const engine::Plan& fp32) const {
    const auto refuse = [&](const std::string& reason) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("--precision {} needs --calib FOLDER with at least {} pictures from where "
                      "the detector will run, {} or more are better; or --calib-cache FILE, "
                      "the table that an earlier build made from them{}",
                      request_.precision, engine::kLeastCalibrationPictures,
                      engine::kEnoughCalibrationPictures, reason));
    };
    if (fp32.network.own_grids.empty()) return refuse("");
    engine::CalibrationTable table;
    table.model_hash = fp32.model_hash;
    table.identity = "the model's own";
    engine::NetworkDefinition network = fp32.network;
    if (auto done = engine::quantize(network, table); !done) {
      return refuse(": " + done.error().message);
    }
    inform(fmt::format("calibration: none, the model brings {} ranges of its own",
                       fp32.network.own_grids.size()));
    return table;
  }

  Result<engine::CalibrationTable> calibrated(const engine::Plan& fp32,
                                              const std::string& key) const {
    CalibrationRequest request;
    request.folder = folder_;
    request.cache = table_;
    request.threads = fp32.threads;
    request.must_keep = !table_.empty();
    if (table_.empty() && !folder_.empty()) {
      // One per model and input size; another folder's table replaces it.
      request.cache = cache_.calibration_table(key);
    }
    FOVEA_ASSIGN(Calibrated result,
                 calibrate_from(
                     request, fp32, [this](const std::string& path) { return read(path); },
                     part_of(events_.progress, shares_.calibrate_from(), shares_.guard_from())));
    if (!result.replaced.empty() && !table_.empty()) {
      warn("warning: " + result.replaced + "; replaced");
    }
    if (!result.note.empty()) warn("warning: " + result.note);
    inform(fmt::format("calibration: {} pictures, {} layers{}", result.table.pictures,
                       result.table.layers.size(), result.reused ? ", as cached" : ""));
    return std::move(result.table);
  }

  void warn_of_entropy(const engine::CalibrationTable& table) const {
    double least = 100;
    double sum = 0;
    for (const engine::LayerRanges& layer : table.layers) {
      least = std::min(least, layer.entropy_percentile);
      sum += layer.entropy_percentile;
    }
    warn(fmt::format(
        "warning: the entropy calibrator cuts activations at the {:.3f} percentile on average "
        "({:.3f} at worst); networks with SiLU lose points of mAP below 99.99",
        table.layers.empty() ? 100 : sum / static_cast<double>(table.layers.size()), least));
  }

  // What shapes the plan beside the model and its options.
  Result<> complete_key(const QuantizedBuildRequest& build) {
    plan_.config.calibration = std::make_shared<const engine::CalibrationTable>(build.table);
    plan_.config.quantization.rule = build.guard.rule;
    FOVEA_ASSIGN(const auto info,
                 engine::describe_engine(build.fp32.network, build.fp32.provider, {}));
    FOVEA_ASSIGN(const Letterbox letterbox, letterbox_for(info));
    plan_.preprocessing = letterbox.parameters();
    plan_.accuracy = "not measured";
    if (build.samples) {
      FOVEA_ASSIGN(const std::string samples, hash_of(*build.samples));
      plan_.accuracy =
          fmt::format("{} on {}",
                      build.samples->labelled ? fmt::format("loss {}", request_.max_map_loss)
                                              : fmt::format("agreement {}", request_.min_agreement),
                      samples);
    }
    return {};
  }

  Result<engine::Plan> guarded_plan(const QuantizedBuildRequest& build,
                                    const engine::Progress& progress) const {
    auto result = build_quantized(
        build, [this](const std::string& path) { return read(path); },
        part_of(progress, 0, shares_.guard_share()));
    if (!result) return fail(result.error());
    QuantizedBuild& built = *result;
    FOVEA_TRY(engine::tune_plan(built.plan, plan_.config.tuning,
                                part_of(progress, shares_.guard_share(), 0.999)));
    progress("done", 1);
    if (built.report.pictures > 0 && built.report.unmeasurable.empty()) {
      for (const std::string& line : summary(built.report)) inform(line);
    }
    inform(built.report.verdict);
    if (!built.reason.empty()) inform(built.reason);
    return std::move(built.plan);
  }

  const EngineRequest& request_;
  PlanRequest plan_;
  const PictureReader& reader_;
  const EngineBuildEvents& events_;
  const CacheUse use_;
  const PlanCache cache_;
  std::string folder_;  // of calibration pictures
  std::string table_;   // made of them
  Shares shares_;
};

}  // namespace

Result<CachedPlan> build_or_load(const EngineRequest& request, const PictureReader& reader,
                                 const EngineBuildEvents& events, Spelling spelling, CacheUse use) {
  FOVEA_ASSIGN(PlanRequest plan, plan_request(request, spelling));
  return Build(request, std::move(plan), reader, events, use).run();
}

engine::Progress part_of(const engine::Progress& whole, double from, double to) {
  return [&whole, from, to](std::string_view stage, double done) {
    if (whole) whole(stage, from + (to - from) * done);
  };
}

}  // namespace fovea
