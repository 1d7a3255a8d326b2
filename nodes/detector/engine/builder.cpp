// The order of building, and the checks that a plan from anywhere must pass before a provider sees
// it.
#include "nodes/detector/engine/builder.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/head_check.hpp"
#include "nodes/detector/engine/onnx/metadata.hpp"
#include "nodes/detector/engine/onnx/parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/plan/model_hash.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/profile_engine.hpp"
#include "nodes/detector/engine/provider.hpp"
#include "nodes/detector/engine/thread_choice.hpp"

namespace fovea::engine {

namespace {

Result<> check(const BuilderConfig& config) {
  const auto refuse = [](std::string message) {
    return fail(ErrorCode::kInvalidArgument, std::move(message));
  };
  FOVEA_TRY(first_provider(config.provider));
  if (config.precision == Precision::kInt8 && config.calibration == nullptr) {
    return refuse(
        "precision int8 needs a calibration: pictures from where the detector will run, or a table "
        "made from them");
  }
  if (config.max_batch < 1 || config.max_batch > kMaxBatch) {
    return refuse(fmt::format("max_batch is {}; it must be 1..{}", config.max_batch, kMaxBatch));
  }
  if (std::find(kHeadChoices.begin(), kHeadChoices.end(), config.head) == kHeadChoices.end()) {
    return refuse(fmt::format("head is '{}'; it must be auto, yolov8, yolov5, rows or none",
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
  if (plan.network.quantization.empty() != (plan.precision == Precision::kFp32)) {
    return corrupt(fmt::format("precision {} contradicts its layers", to_string(plan.precision)));
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
  if (plan.precision != Precision::kFp32 && !provider->mixes_precisions) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("provider {} runs fp32 only; the precision is {}", plan.provider,
                            to_string(plan.precision)));
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
  auto result = lower(
      std::move(network),
      {.keep_output0 = config.keep_output0,
       .input_height = config.input_height,
       .input_width = config.input_width,
       .profile = config.profile,
       .adopt_quantization = config.adopt_quantization || config.precision == Precision::kInt8,
       .head = config.head,
       .picture = config.picture,
       .metadata = config.metadata});
  if (!result) return fail(result.error().with_context(model.string()));
  return result;
}

// Plan::network and, if the provider takes the model over, Plan::artifact.
Result<> make_network(const std::filesystem::path& model, const BuilderConfig& config,
                      const Provider& provider, const Progress& report, Plan& plan) {
  const auto own = [&]() -> Result<NetworkDefinition> {
    report("parse", 0.1);
    FOVEA_ASSIGN(NetworkDefinition network, parse_onnx(model));
    report("lower", 0.2);
    return lowered(model, std::move(network), config);
  };
  auto network = own();
  if (network) {
    plan.network = std::move(*network);
    return {};
  }
  Error refusal = std::move(network).error();
  const bool can_take_over = provider.take_over != nullptr &&
                             config.precision == Precision::kFp32 && config.profile.empty() &&
                             !config.adopt_quantization;
  if (refusal.code != ErrorCode::kUnsupported || !can_take_over) return fail(std::move(refusal));
  auto taken = provider.take_over(model, {.input_height = config.input_height,
                                          .input_width = config.input_width,
                                          .threads = config.threads,
                                          .head = config.head,
                                          .picture = config.picture,
                                          .metadata = config.metadata});
  if (!taken) {
    return fail(taken.error().code, fmt::format("{}; provider {}: {}", refusal.message,
                                                provider.name, taken.error().message));
  }
  plan.network = std::move(taken->network);
  plan.artifact = std::move(taken->artifact);
  return {};
}

// A head that is a guess is not served against what its numbers say; one that the user or the
// metadata vouch for is, with a warning.
Result<> check_head(Plan& plan, const Engine& engine, const std::filesystem::path& model) {
  HeadInfo& head = plan.network.head;
  if (head.basis == HeadBasis::kComputed || !head.known()) return {};
  FOVEA_ASSIGN(const std::string doubt, doubt_of_head(engine));
  if (doubt.empty()) return {};
  if (head.basis == HeadBasis::kAssumed) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: no metadata says what the outputs mean, and they are not {}: {}; "
                    "head (--head of `fovea engine`) says which head it is: yolov8, yolov5, "
                    "rows or none",
                    model.string(),
                    head.spec.find(OutputRole::kObjectness) == nullptr ? "YOLOv8's" : "YOLOv5's",
                    doubt));
  }
  const auto names = plan.network.metadata.find("names");
  const std::size_t named =
      names == plan.network.metadata.end() ? 0 : read_class_names(names->second).names.size();
  if (head.basis == HeadBasis::kMetadata && named > 0 && named != head.classes()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: neither the numbers nor the {} names of the metadata go with {}: {}; "
                    "head (--head of `fovea engine`) says which head it is: yolov8, yolov5, "
                    "rows or none",
                    model.string(), named, head.note, doubt));
  }
  head.warnings.push_back(fmt::format("the outputs do not look like {} ({}): {}", head.note,
                                      to_string(head.basis), doubt));
  return {};
}

}  // namespace

namespace {

// `make` with the provider that `config` names. For "auto" with the first, and with the one that
// takes models over for a model that the first cannot run: `taken` is then told why.
template <class Make>
auto with_provider(const BuilderConfig& config, const Make& make,
                   const std::function<void(decltype(make(config))&, const std::string&)>& taken)
    -> decltype(make(config)) {
  if (config.provider != kAutoProvider) return make(config);
  BuilderConfig named = config;
  named.provider = providers().front().name;
  auto made = make(named);
  if (made || made.error().code != ErrorCode::kUnsupported) return made;
  const auto other = std::find_if(providers().begin(), providers().end(),
                                  [](const Provider& p) { return p.take_over != nullptr; });
  if (other == providers().end() || config.precision != Precision::kFp32) return made;
  if (const auto there = other->available(); !there) {
    return fail(made.error().code,
                fmt::format("{}; provider {} would be tried, but {}", made.error().message,
                            other->name, there.error().message));
  }
  named.provider = other->name;
  auto second = make(named);
  if (!second) return second;
  taken(second,
        fmt::format("provider {} cannot run this model ({}); it runs on {}",
                    providers().front().name, shown(made.error().message, 300), other->identity()));
  return second;
}

Result<EngineInfo> preview_with(const std::filesystem::path& model, const BuilderConfig& config) {
  FOVEA_ASSIGN(const Provider* provider, find_provider(config.provider));
  Plan plan;
  FOVEA_TRY(make_network(
      model, config, *provider, [](std::string_view, double) {}, plan));
  EngineOptions options{.max_batch = config.max_batch, .threads = config.threads};
  FOVEA_ASSIGN(options.model_hash, hash_model(model));
  auto info = describe_engine(plan.network, config.provider, options);
  if (!info) return fail(info.error().with_context(model.string()));
  return info;
}

Result<Plan> build_with(const std::filesystem::path& model, const BuilderConfig& config,
                        const Progress& report) {
  FOVEA_ASSIGN(const Provider* provider, find_provider(config.provider));
  report("read", 0);
  Plan plan;
  plan.provider = config.provider;
  plan.precision = config.precision;
  plan.max_batch = config.max_batch;
  plan.threads = config.threads;
  FOVEA_ASSIGN(plan.model_hash, hash_model(model));
  FOVEA_TRY(make_network(model, config, *provider, report, plan));
  if (config.precision == Precision::kInt8) {
    if (config.calibration->model_hash != plan.model_hash) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: the calibration table is another model's, {:.12}...",
                              model.string(), config.calibration->model_hash));
    }
    FOVEA_TRY(quantize(plan.network, *config.calibration, config.quantization));
  } else if (config.precision == Precision::kFp16 || config.precision == Precision::kBf16) {
    FOVEA_TRY(use_half_precision(plan.network, config.precision));
  }
  report("compile", 0.3);
  if (provider->build != nullptr && plan.artifact.size() == 0) {
    FOVEA_ASSIGN(const Checked checked, check(plan));
    FOVEA_ASSIGN(plan.artifact, provider->build(checked.network, checked.info));
  }
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

}  // namespace

Result<EngineInfo> preview_engine(const std::filesystem::path& model, const BuilderConfig& config) {
  FOVEA_TRY(check(config));
  return with_provider(
      config, [&](const BuilderConfig& named) { return preview_with(model, named); },
      [](Result<EngineInfo>& info, const std::string& why) { info->head.warnings.push_back(why); });
}

Result<Plan> build_plan(const std::filesystem::path& model, const BuilderConfig& config,
                        const Progress& progress) {
  FOVEA_TRY(check(config));
  const Progress report = progress ? progress : [](std::string_view, double) {};
  return with_provider(
      config, [&](const BuilderConfig& named) { return build_with(model, named, report); },
      [](Result<Plan>& plan, const std::string& why) {
        plan->network.head.warnings.push_back(why);
      });
}

bool can_be_tuned(const BuilderConfig& config) {
  const auto provider = first_provider(config.provider);
  return config.tuning.level > 0 && provider && (*provider)->tune != nullptr;
}

Result<> tune_plan(Plan& plan, const TuningConfig& config, const Progress& progress) {
  if (config.level < 0 || config.level > kMaxTuningLevel) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tuning level is {}; it must be 0..{}", config.level, kMaxTuningLevel));
  }
  plan.tactics.clear();
  if (config.level == 0) return {};
  TuningReport report;
  const auto start = std::chrono::steady_clock::now();
  FOVEA_ASSIGN(Checked checked, check(plan));
  if (checked.provider->tune != nullptr) {
    FOVEA_TRY(choose_threads(plan, config, report));
    checked.info.threads = plan.threads;
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
  FOVEA_ASSIGN(auto engine,
               checked.provider->load(std::move(checked.network), std::move(checked.info),
                                      plan.tactics, plan.artifact));
  if (!size.empty() || plan.network.profile.empty()) return engine;
  return make_profile_engine(std::move(engine),
                             [plan](const Dims& other) { return load_engine(plan, other); });
}

}  // namespace fovea::engine
