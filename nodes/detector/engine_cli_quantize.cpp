// The options of `build` that make int8 engines, and what they set in motion.
#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "nodes/base/terminal.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine_cli.hpp"
#include "nodes/detector/quantized_build.hpp"

namespace fovea::engine_cli {

namespace {

// A set of hundreds of pictures takes minutes: stop between two of them.
PictureReader reader_until_interrupted(std::uint64_t max_pixels) {
  return [max_pixels](const std::string& path) -> Result<Picture> {
    if (interrupted) return fail(ErrorCode::kUnavailable, "interrupted");
    return read_picture(path, max_pixels);
  };
}

// With --cached-only: calibrating would be building.
Result<Picture> refuse_to_read(const std::string& path) {
  return fail(ErrorCode::kNotFound, "not calibrated yet with " + path);
}

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

void explain(const JsonOption& json, const QuantizedBuild& built) {
  if (built.report.pictures > 0 && built.report.unmeasurable.empty()) {
    for (const std::string& line : summary(built.report)) say(json, line);
  }
  say(json, built.report.verdict);
  if (!built.reason.empty()) say(json, built.reason);
}

// An empty table, if the model's own quantisation is enough.
Result<engine::CalibrationTable> without_pictures(const engine::Plan& fp32,
                                                  const std::string& precision) {
  const auto refuse = [&](const std::string& reason) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("--precision {} needs --calib FOLDER with at least {} pictures from where "
                    "the detector will run, {} or more are better; or --calib-cache FILE, "
                    "the table that an earlier build made from them{}",
                    precision, engine::kLeastCalibrationPictures,
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
  return table;
}

}  // namespace

void QuantizeOptions::declare(CLI::App& app) {
  app.add_option(
      "--calib", calibration_folder,
      "Folder of pictures to calibrate int8 with, from where the detector will run; not needed "
      "for a model that brings all ranges itself");
  app.add_option("--calib-cache", calibration_cache,
                 "Calibration table: read if it was made from the same, else written");
  app.add_option("--calibrator", calibrator,
                 "How ranges are found first: percentile, mse, minmax or entropy")
      ->capture_default_str();
  app.add_option("--verify", verify,
                 "Folder to measure accuracy on, labelled (images/, labels/, classes.txt) or not; "
                 "default: the calibration pictures; without either int8 is taken unmeasured");
  app.add_option("--max-map-loss", max_map_loss,
                 "Most points of mAP50-95 that int8 may lose on a labelled set")
      ->capture_default_str();
  app.add_option("--min-agreement", min_agreement,
                 "Least agreement with f32, 0..100, on an unlabelled set")
      ->capture_default_str();
  declare_max_pixels(app, max_pixels);
}

Result<> QuantizeOptions::check_unused(const std::string& precision) const {
  for (const auto& [given, name] : {std::pair(&calibration_folder, "--calib"),
                                    {&calibration_cache, "--calib-cache"},
                                    {&verify, "--verify"}}) {
    if (given->empty()) continue;
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} is for --precision int8 and best; --precision is {}", name, precision));
  }
  return {};
}

Result<ModelOptions::Source> QuantizeOptions::plan(const ModelOptions& model,
                                                   const JsonOption& json) const {
  const auto rule = engine::range_rule_from(calibrator);
  if (!rule || *rule == engine::RangeRule::kWidePercentile) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--calibrator is '{}'; it must be percentile, mse, minmax or entropy",
                            calibrator));
  }
  if (!(max_map_loss >= 0) || !(min_agreement >= 0 && min_agreement <= 100)) {
    return fail(ErrorCode::kInvalidArgument,
                "--max-map-loss must be 0 or more and --min-agreement 0..100");
  }
  const engine::Progress progress = progress_printer();
  Shares shares;
  FOVEA_ASSIGN(PlanRequest request, model.request());
  QuantizedBuildRequest build;
  build.best = request.config.precision == "best";
  build.guard.max_map_loss = max_map_loss;
  build.guard.min_agreement = min_agreement;
  build.guard.rule = *rule;
  const std::string measured_on = verify.empty() ? calibration_folder : verify;
  if (!measured_on.empty()) {
    FOVEA_ASSIGN(build.samples, read_sample_set(measured_on));
    shares.guard = 1.5 * static_cast<double>(build.samples->pictures.size());
  }
  if (!calibration_folder.empty()) {
    FOVEA_ASSIGN(const auto pictures, list_pictures(calibration_folder));
    shares.calibrate =
        2.4 * static_cast<double>(std::min(pictures.size(), CalibrationRequest().most_pictures));
  }
  const PlanCache cache = model.cache();
  PlanRequest plain = request;
  plain.config.precision = "fp32";
  plain.config.tuning.level = 0;  // it is calibrated with and measured against, not served
  plain.config.adopt_quantization = true;
  FOVEA_TRY(check_cached(cache, plain));
  FOVEA_ASSIGN(CachedPlan fp32,
               cache.get_or_build(plain, part_of(progress, 0, shares.calibrate_from())));
  build.fp32 = std::move(fp32.plan);

  if (calibration_folder.empty() && calibration_cache.empty()) {
    FOVEA_ASSIGN(build.table, without_pictures(build.fp32, request.config.precision));
    say(json, fmt::format("calibration: none, the model brings {} ranges of its own",
                          build.fp32.network.own_grids.size()));
  } else {
    FOVEA_ASSIGN(build.table,
                 calibrated(build.fp32, fp32.key, cache,
                            part_of(progress, shares.calibrate_from(), shares.guard_from()), json));
  }
  if (*rule == engine::RangeRule::kEntropy) warn_of_entropy(build.table);

  request.config.calibration = std::make_shared<const engine::CalibrationTable>(build.table);
  request.config.quantization.rule = *rule;
  FOVEA_ASSIGN(const auto info,
               engine::describe_engine(build.fp32.network, build.fp32.provider, {}));
  FOVEA_ASSIGN(const Letterbox letterbox, letterbox_for(info));
  request.preprocessing = letterbox.parameters();
  request.accuracy = "not measured";
  if (build.samples) {
    FOVEA_ASSIGN(const std::string samples, hash_of(*build.samples));
    request.accuracy =
        fmt::format("{} on {}",
                    build.samples->labelled ? fmt::format("loss {}", max_map_loss)
                                            : fmt::format("agreement {}", min_agreement),
                    samples);
  }
  if (verify.empty() && !calibration_folder.empty()) {
    note(
        "accuracy is measured on the calibration pictures; --verify FOLDER names others, better "
        "labelled ones");
  }
  const PlanCache guarded =
      model.cache([&](const std::filesystem::path&, const engine::BuilderConfig&,
                      const engine::Progress& report_progress) -> Result<engine::Plan> {
        auto result = build_quantized(build, reader_until_interrupted(max_pixels),
                                      part_of(report_progress, 0, shares.guard_share()));
        if (!result) return fail(result.error());
        QuantizedBuild& built = *result;
        FOVEA_TRY(engine::tune_plan(built.plan, request.config.tuning,
                                    part_of(report_progress, shares.guard_share(), 0.999)));
        report_progress("done", 1);
        explain(json, built);
        return std::move(built.plan);
      });
  FOVEA_TRY(check_cached(guarded, request));
  ModelOptions::Source source;
  FOVEA_ASSIGN(source.cached,
               guarded.get_or_build(request, part_of(progress, shares.guard_from(), 1)));
  source.plan = source.cached->plan;
  source.seconds = source.cached->seconds;
  warn_of_head(source.plan.network);
  if (!source.cached->warning.empty()) {
    note("warning: " + source.cached->warning);
  }
  return source;
}

Result<> QuantizeOptions::check_cached(const PlanCache& cache, const PlanRequest& request) const {
  if (!cached_only) return {};
  FOVEA_ASSIGN(const CacheStatus status, cache.status(request));
  if (status.cached) return {};
  return fail(ErrorCode::kNotFound, "not in the cache: " + status.reason);
}

Result<engine::CalibrationTable> QuantizeOptions::calibrated(const engine::Plan& fp32,
                                                             const std::string& key,
                                                             const PlanCache& cache,
                                                             const engine::Progress& progress,
                                                             const JsonOption& json) const {
  CalibrationRequest request;
  request.folder = calibration_folder;
  request.cache = calibration_cache;
  request.threads = fp32.threads;
  request.must_keep = !calibration_cache.empty();
  if (request.cache.empty() && !calibration_folder.empty()) {
    // One per model and input size; another folder's table replaces it.
    request.cache = cache.calibration_table(key);
  }
  FOVEA_ASSIGN(Calibrated result, calibrate_from(request, fp32,
                                                 cached_only ? PictureReader(refuse_to_read)
                                                             : reader_until_interrupted(max_pixels),
                                                 progress));
  if (!result.replaced.empty() && !calibration_cache.empty()) {
    note("warning: " + result.replaced + "; replaced");
  }
  if (!result.note.empty()) note("warning: " + result.note);
  say(json, fmt::format("calibration: {} pictures, {} layers{}", result.table.pictures,
                        result.table.layers.size(), result.reused ? ", as cached" : ""));
  return std::move(result.table);
}

void QuantizeOptions::warn_of_entropy(const engine::CalibrationTable& table) {
  double least = 100;
  double sum = 0;
  for (const engine::LayerRanges& layer : table.layers) {
    least = std::min(least, layer.entropy_percentile);
    sum += layer.entropy_percentile;
  }
  print_error(
      "warning: the entropy calibrator cuts activations at the {:.3f} percentile on average "
      "({:.3f} at worst); networks with SiLU lose points of mAP below 99.99",
      table.layers.empty() ? 100 : sum / static_cast<double>(table.layers.size()), least);
}

}  // namespace fovea::engine_cli
