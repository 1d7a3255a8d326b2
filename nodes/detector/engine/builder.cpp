// The order of building, and the checks that a plan from anywhere must pass before a provider sees
// it.
#include "nodes/detector/engine/builder.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/head_check.hpp"
#include "nodes/detector/engine/model_hash.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/profile_engine.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

namespace {

bool is_precision(std::string_view text) {
  return text == "fp32" || text == "fp16" || text == "int8";
}

Result<> check(const BuilderConfig& config) {
  const auto refuse = [](std::string message) {
    return fail(ErrorCode::kInvalidArgument, std::move(message));
  };
  FOVEA_TRY(find_provider(config.provider));
  if (!is_precision(config.precision)) {
    return refuse(
        fmt::format("precision is '{}'; it must be fp32, fp16 or int8", config.precision));
  }
  if (config.precision == "int8" && config.calibration == nullptr) {
    return refuse(
        "precision int8 needs a calibration: pictures from where the detector will run, or a table "
        "made from them");
  }
  if (config.max_batch < 1 || config.max_batch > kMaxBatch) {
    return refuse(fmt::format("max_batch is {}; it must be 1..{}", config.max_batch, kMaxBatch));
  }
  if (std::find(kHeadChoices.begin(), kHeadChoices.end(), config.head) == kHeadChoices.end()) {
    return refuse(fmt::format("head is '{}'; it must be auto, yolov8, yolov5 or none",
                              shown(config.head, 40)));
  }
  if (config.threads < 1 || config.threads > kMaxThreads) {
    return refuse(fmt::format("threads is {}; it must be 1..{}", config.threads, kMaxThreads));
  }
  if (!config.profile.empty()) {
    FOVEA_TRY(check_profile(config.profile));
    if (config.profile.max[0] != config.max_batch) {
      return refuse(fmt::format("max_batch is {} but the profile's {}", config.max_batch,
                                config.profile.max[0]));
    }
    if (config.input_height != 0 || config.input_width != 0) {
      return refuse("give either an input size or a profile, not both");
    }
  }
  if (config.input_height < 0 || config.input_width < 0) {
    return refuse(fmt::format("input size is {}x{}; it must be positive, or 0 for the model's",
                              config.input_width, config.input_height));
  }
  return {};
}

tl::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, "plan: " + std::move(message));
}

// A plan that may run here: with shapes inferred anew, for those in the plan might contradict the
// weights.
struct Checked {
  const Provider* provider = nullptr;
  NetworkDefinition network;
  EngineInfo info;
};
Result<Checked> check(const Plan& plan, const Dims& size = {}) {
  if (!is_precision(plan.precision)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("precision {} is not in this build", plan.precision));
  }
  if (plan.network.quantization.empty() != (plan.precision == "fp32")) {
    return corrupt(fmt::format("precision {} contradicts its layers", plan.precision));
  }
  if (plan.max_batch < 1 || plan.max_batch > kMaxBatch || plan.threads < 1 ||
      plan.threads > kMaxThreads) {
    return corrupt(
        fmt::format("max_batch {} or threads {} is out of range", plan.max_batch, plan.threads));
  }
  const auto found = find_provider(plan.provider);
  if (!found) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("provider {} is not in this build", plan.provider));
  }
  const Provider* provider = *found;
  if (plan.precision != "fp32" && !provider->mixes_precisions) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("provider {} cannot run {} plans", plan.provider, plan.precision));
  }
  const OptimizationProfile& profile = plan.network.profile;
  if (!profile.empty()) {
    if (auto good = check_profile(profile); !good) return corrupt(good.error().message);
  }
  Dims wanted = size;
  if (wanted.empty() && !profile.empty()) wanted = {profile.opt[2], profile.opt[3], 3};
  NetworkDefinition network = plan.network;
  if (!wanted.empty()) {
    FOVEA_ASSIGN(network, at_size(plan.network, wanted));
  }
  if (auto shaped = infer_shapes(network, 1); !shaped) return corrupt(shaped.error().message);
  FOVEA_TRY(check_quantization(network));
  auto info = describe_engine(network, plan.provider,
                              {.max_batch = plan.max_batch,
                               .threads = plan.threads,
                               .precision = plan.precision,
                               .model_hash = plan.model_hash});
  if (!info) {  // a sound network that nobody can run is no damaged plan
    if (info.error().code == ErrorCode::kUnsupported) return fail(info.error());
    return corrupt(info.error().message);
  }
  info->profile = profile_of(plan.network, plan.max_batch);
  return Checked{provider, std::move(network), std::move(*info)};
}

// As `config` asks.
Result<NetworkDefinition> lowered(const std::filesystem::path& model, NetworkDefinition network,
                                  const BuilderConfig& config) {
  auto result = lower(std::move(network), {.keep_output0 = config.keep_output0,
                                           .input_height = config.input_height,
                                           .input_width = config.input_width,
                                           .profile = config.profile,
                                           .adopt_quantization = config.adopt_quantization ||
                                                                 config.precision == "int8",
                                           .head = config.head});
  if (!result) return fail(result.error().with_context(model.string()));
  return result;
}

// A head that is a guess is not served against what its numbers say; one that the user or the
// metadata vouch for is, with a warning.
Result<> check_head(Plan& plan, const Engine& engine, const std::filesystem::path& model) {
  HeadInfo& head = plan.network.head;
  if (head.basis == HeadBasis::kComputed || head.kind == HeadKind::kUnknown) return {};
  FOVEA_ASSIGN(const std::string doubt, doubt_of_head(engine));
  if (doubt.empty()) return {};
  if (head.basis == HeadBasis::kAssumed) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: no metadata says what the outputs mean, and they are not {}: {}; "
                            "head (--head of `fovea engine`) says which head it is: yolov8, yolov5 "
                            "or none",
                            model.string(),
                            head.kind == HeadKind::kDecoded ? "YOLOv8's" : "YOLOv5's", doubt));
  }
  head.warnings.push_back(fmt::format("the outputs do not look like {} ({}): {}", head.note,
                                      to_string(head.basis), doubt));
  return {};
}

}  // namespace

Result<EngineInfo> preview_engine(const std::filesystem::path& model, const BuilderConfig& config) {
  FOVEA_TRY(check(config));
  FOVEA_ASSIGN(NetworkDefinition network, parse_onnx(model));
  FOVEA_ASSIGN(network, lowered(model, std::move(network), config));
  EngineOptions options{.max_batch = config.max_batch, .threads = config.threads};
  FOVEA_ASSIGN(options.model_hash, hash_model(model));
  auto info = describe_engine(network, config.provider, options);
  if (!info) return fail(info.error().with_context(model.string()));
  return info;
}

Result<Plan> build_plan(const std::filesystem::path& model, const BuilderConfig& config,
                        const Progress& progress) {
  const auto report = [&](std::string_view stage, double done) {
    if (progress) progress(stage, done);
  };
  FOVEA_TRY(check(config));
  report("read", 0);
  Plan plan;
  plan.provider = config.provider;
  plan.precision = config.precision;
  plan.max_batch = config.max_batch;
  plan.threads = config.threads;
  FOVEA_ASSIGN(plan.model_hash, hash_model(model));
  report("parse", 0.1);
  FOVEA_ASSIGN(NetworkDefinition network, parse_onnx(model));
  report("lower", 0.2);
  FOVEA_ASSIGN(plan.network, lowered(model, std::move(network), config));
  if (config.precision == "int8") {
    if (config.calibration->model_hash != plan.model_hash) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: the calibration table is another model's, {:.12}...",
                              model.string(), config.calibration->model_hash));
    }
    FOVEA_TRY(quantize(plan.network, *config.calibration, config.quantization));
  } else if (config.precision == "fp16") {
    FOVEA_TRY(use_half_precision(plan.network));
  }
  report("compile", 0.3);
  const auto engine = load_engine(plan);
  if (!engine) return fail(engine.error().with_context(model.string()));
  FOVEA_TRY(check_head(plan, **engine, model));
  constexpr double kTuningFrom = 0.4;  // what comes before takes a second, tuning several
  const auto tuning = [&](std::string_view stage, double done) {
    report(stage, kTuningFrom + (1 - kTuningFrom) * done);
  };
  FOVEA_TRY(tune_plan(plan, config.tuning, tuning));
  report("done", 1);
  return plan;
}

bool can_be_tuned(const BuilderConfig& config) {
  const auto provider = find_provider(config.provider);
  return config.tuning.level > 0 && provider && (*provider)->tune != nullptr;
}

Result<> tune_plan(Plan& plan, const TuningConfig& config, const Progress& progress) {
  if (config.level < 0 || config.level > kMaxTuningLevel) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tuning level is {}; it must be 0..{}", config.level, kMaxTuningLevel));
  }
  plan.tactics.clear();
  if (config.level == 0) return {};
  FOVEA_ASSIGN(Checked checked, check(plan));
  TuningReport report;
  const auto start = std::chrono::steady_clock::now();
  if (checked.provider->tune != nullptr) {
    FOVEA_ASSIGN(plan.tactics,
                 checked.provider->tune(checked.network, checked.info, config, progress, report));
  } else {
    report.note = fmt::format("provider {} has no choice of tactics", plan.provider);
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (config.report) config.report(report);
  return {};
}

Result<std::shared_ptr<const Engine>> load_engine(const Plan& plan, const Dims& size) {
  FOVEA_ASSIGN(Checked checked, check(plan, size));
  FOVEA_ASSIGN(auto engine, checked.provider->load(std::move(checked.network),
                                                   std::move(checked.info), plan.tactics));
  if (!size.empty() || plan.network.profile.empty()) return engine;
  return make_profile_engine(std::move(engine),
                             [plan](const Dims& other) { return load_engine(plan, other); });
}

}  // namespace fovea::engine
