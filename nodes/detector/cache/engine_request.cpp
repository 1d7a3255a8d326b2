#include "nodes/detector/cache/engine_request.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "nodes/base/cores.hpp"
#include "nodes/base/head_spec.hpp"
#include "nodes/base/input_spec.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/class_names_file.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/profile.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea {

namespace {

std::vector<std::string> precision_choices() {
  std::vector<std::string> choices(engine::kPrecisionNames.begin(), engine::kPrecisionNames.end());
  choices.emplace_back(kBestPrecision);
  return choices;
}

template <std::size_t N>
std::vector<std::string> or_auto(const std::array<std::string_view, N>& names) {
  std::vector<std::string> choices{"auto"};
  choices.insert(choices.end(), names.begin(), names.end());
  return choices;
}

// REQUIRES: one of or_auto(names).
template <class Enum, std::size_t N>
std::optional<Enum> chosen(const std::string& word, const std::array<std::string_view, N>& names) {
  const auto at = std::find(names.begin(), names.end(), word);
  if (at == names.end()) return std::nullopt;
  return static_cast<Enum>(at - names.begin());
}

Result<InputChoice> input_choice(const EngineRequest& request, Spelling spelling) {
  InputChoice choice;
  choice.colour = chosen<ColourOrder>(request.color, kColourOrderNames);
  choice.range = chosen<ValueRange>(request.value_range, kValueRangeNames);
  choice.resize = chosen<ResizeMode>(request.resize, kResizeModeNames);
  if (request.pad >= 0) choice.border = static_cast<std::uint8_t>(request.pad);
  const std::string_view dashes = spelling == Spelling::kFlags ? "--" : "";
  if (!request.mean.empty()) {
    FOVEA_ASSIGN(choice.mean, parse_per_channel(fmt::format("{}mean", dashes), request.mean));
  }
  if (!request.std.empty()) {
    FOVEA_ASSIGN(choice.deviation, parse_per_channel(fmt::format("{}std", dashes), request.std));
  }
  if (const std::string problem = problem_of(with_choice({}, choice)); !problem.empty()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}{}", dashes, problem));
  }
  return choice;
}

std::vector<EngineOption> make_options() {
  using R = EngineRequest;
  return {
      {.name = "model",
       .flag = "--onnx,--model",
       .member = &R::model,
       .description = "ONNX file",
       .names = EngineOption::Names::kFile},
      {.name = "provider",
       .flag = "--provider",
       .member = &R::provider,
       .description = "What runs the network",
       .choices = engine::provider_choices()},
      {.name = "precision",
       .flag = "--precision",
       .member = &R::precision,
       .description = "Arithmetic of the network; best measures which one to take",
       .choices = precision_choices()},
      {.name = "max_batch",
       .flag = "--batch",
       .member = &R::max_batch,
       .description =
           "Most frames in one inference; 0 = what suits the provider: 1 on a CPU, which "
           "works a batch off one by one",
       .least = 0,
       .most = engine::kMaxBatch,
       .unit = "frames"},
      {.name = "threads",
       .flag = "--threads",
       .member = &R::threads,
       .description =
           "Threads of the CPU provider; 0 = as many as help, at most one per core that this "
           "process may use",
       .least = 0,
       .most = engine::kMaxThreads},
      {.name = "input_size",
       .flag = "--input-size",
       .member = &R::input_size,
       .description = "Network input in pixels, SIDE or WIDTHxHEIGHT, of a model that leaves it "
                      "open; empty = the model's own. Preprocess follows it"},
      {.name = "min_shapes",
       .flag = "--min-shapes",
       .member = &R::min_shapes,
       .description = "Least input of a model that leaves its size open, e.g. "
                      "images:1x3x320x320; one engine then runs every size up to --max-shapes",
       .is_parameter = false},
      {.name = "opt_shapes",
       .flag = "--opt-shapes",
       .member = &R::opt_shapes,
       .description = "Input to calibrate and tune for, and the default",
       .is_parameter = false},
      {.name = "max_shapes",
       .flag = "--max-shapes",
       .member = &R::max_shapes,
       .description = "Greatest input; its batch replaces --batch",
       .is_parameter = false},
      {.name = "keep_output0",
       .flag = "--keep-output0",
       .member = &R::keep_output0,
       .description = "Run the model's own tail, with its choice of the best boxes if it makes "
                      "one, instead of cutting it off"},
      {.name = "head",
       .flag = "--head",
       .member = &R::head,
       .description = "What the model's outputs are: auto finds out from its tail, its metadata "
                      "and its shape; yolov8 is [1, 4 + classes, anchors], yolov5 is [1, anchors, "
                      "5 + classes], rows is [1, rows, 6 + more] (a box's corners, score, class), "
                      "none is raw tensors that no detector decodes",
       .choices =
           std::vector<std::string>(engine::kHeadChoices.begin(), engine::kHeadChoices.end())},
      {.name = "color",
       .flag = "--color",
       .member = &R::color,
       .description = "Order of the channels that the model reads; auto: as its metadata or its "
                      "family say, else rgb",
       .choices = or_auto(kColourOrderNames)},
      {.name = "value_range",
       .flag = "--value-range",
       .member = &R::value_range,
       .description = "What bytes become before mean and std; auto: as for color, else 0..1",
       .choices = or_auto(kValueRangeNames)},
      {.name = "mean",
       .flag = "--mean",
       .member = &R::mean,
       .description = "What the model wants subtracted, one number or one per channel in its own "
                      "order, in units of value_range; empty = as for color, else 0"},
      {.name = "std",
       .flag = "--std",
       .member = &R::std,
       .description =
           "What the model wants the difference divided by; empty = as for color, else 1"},
      {.name = "resize",
       .flag = "--resize",
       .member = &R::resize,
       .description = "How pictures are brought to the input's size: with a border around them "
                      "(letterbox) or to the right and below (letterbox_top_left), out of "
                      "proportion (stretch, stretch_antialiased), or their middle, antialiased "
                      "(centre_crop); auto: as for color, else letterbox",
       .choices = or_auto(kResizeModeNames)},
      {.name = "pad",
       .flag = "--pad",
       .member = &R::pad,
       .description = "Value of a letterbox's border; -1 = as for color, else 114",
       .least = -1,
       .most = 255},
      {.name = "task",
       .flag = "--task",
       .member = &R::task,
       .description = "What the model is for, where its metadata do not say or say it wrong; what "
                      "it is proven to compute goes before",
       .choices = or_auto(kTaskNames)},
      {.name = "names",
       .flag = "--names",
       .member = &R::names,
       .description = "File with the names of the classes, in place of the model's: one a line, a "
                      "list or map in YAML or JSON, or a training's data.yaml",
       .names = EngineOption::Names::kFile},
      {.name = "calibration",
       .flag = "--calib",
       .member = &R::calibration,
       .description = "For int8 and best: folder of pictures from where the detector runs, or the "
                      "table that `fovea engine build --calib-cache` made from one",
       .names = EngineOption::Names::kFileOrFolder,
       .is_quantization = true},
      {.name = "calibration_table",
       .flag = "--calib-cache",
       .member = &R::calibration_table,
       .description = "Calibration table: read if it was made from the same, else written",
       .is_parameter = false,
       .is_quantization = true},
      {.name = "calibrator",
       .flag = "--calibrator",
       .member = &R::calibrator,
       .description = "How ranges are found first",
       .choices = {"percentile", "mse", "minmax", "entropy"},
       .is_parameter = false,
       .is_quantization = true},
      {.name = "verify",
       .flag = "--verify",
       .member = &R::verify,
       .description = "For int8 and best: folder of pictures to measure accuracy on, better "
                      "labelled (images/, labels/, classes.txt; of a classifier, folders named by "
                      "class); empty = the calibration pictures, "
                      "and with a table nothing is measured",
       .names = EngineOption::Names::kFileOrFolder,
       .is_quantization = true},
      {.name = "max_map_loss",
       .flag = "--max-map-loss",
       .member = &R::max_map_loss,
       .description = "Most points of mAP50-95, of a classifier of top-1, that int8 may lose on a "
                      "labelled set",
       .least = 0,
       .most = 100,
       .is_parameter = false,
       .is_quantization = true},
      {.name = "min_agreement",
       .flag = "--min-agreement",
       .member = &R::min_agreement,
       .description = "Least agreement with f32 on an unlabelled set",
       .least = 0,
       .most = 100,
       .is_parameter = false,
       .is_quantization = true},
      {.name = "max_pixels",
       .flag = "--max-pixels",
       .member = &R::max_pixels,
       .description = "Pictures of `calibration` and `verify` with more pixels than this are "
                      "refused before they are decoded",
       .least = 1,
       .most = 1 << 30,
       .unit = "px",
       .is_quantization = true},
      {.name = "builder_optimization_level",
       .flag = "--builder-optimization-level",
       .member = &R::tuning_level,
       .description = "How a build tunes: 0 not at all, 1 each layer alone, 2 also inside the "
                      "network, 3 with every kernel there is",
       .least = 0,
       .most = engine::kMaxTuningLevel},
      {.name = "tuning_limit",
       .flag = "--tuning-limit",
       .member = &R::tuning_limit_s,
       .description = "Most seconds that tuning takes",
       .least = 0,
       .most = 86400,
       .unit = "s",
       .is_parameter = false},
      {.name = "timing_cache_file",
       .flag = "--timing-cache-file",
       .member = &R::timing_cache,
       .description = "What tuning measured, read and added to; default in the cache folder",
       .is_parameter = false},
      {.name = "cache_dir",
       .flag = "--cache-dir",
       .member = &R::cache_dir,
       .description = "Where built engines are kept, a folder that nobody else may write to; empty "
                      "= $FOVEA_CACHE_DIR or ~/.cache/fovea"},
      {.name = "no_cache",
       .flag = "--no-cache",
       .member = &R::no_cache,
       .description = "Neither look for built engines and what tuning measured nor keep any",
       .is_parameter = false},
  };
}

// "--batch" or "max_batch".
std::string spelled(const EngineOption& option, Spelling spelling) {
  return spelling == Spelling::kParameters ? option.name
                                           : option.flag.substr(0, option.flag.find(','));
}

Result<> check_range(const EngineOption& option, double value, Spelling spelling) {
  if (value >= option.least && value <= option.most) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is {}; it must be {}..{}", spelled(option, spelling), value,
                          option.least, option.most));
}

Result<> check_choice(const EngineOption& option, const std::string& value, Spelling spelling) {
  const auto& choices = option.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) {
    return {};
  }
  const auto last = choices.end() - 1;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is '{}'; it must be {} or {}", spelled(option, spelling),
                          shown(value), fmt::join(choices.begin(), last, ", "), *last));
}

Result<> check(const EngineRequest& request, const EngineOption& option, Spelling spelling) {
  if (const auto* text = std::get_if<std::string EngineRequest::*>(&option.member)) {
    return check_choice(option, request.*(*text), spelling);
  }
  if (const auto* number = std::get_if<std::int64_t EngineRequest::*>(&option.member)) {
    return check_range(option, static_cast<double>(request.*(*number)), spelling);
  }
  if (const auto* number = std::get_if<double EngineRequest::*>(&option.member)) {
    return check_range(option, request.*(*number), spelling);
  }
  return {};
}

}  // namespace

const std::vector<EngineOption>& engine_options() {
  static const std::vector<EngineOption> kOptions = make_options();
  return kOptions;
}

Result<> validate(const EngineRequest& request, Spelling spelling) {
  for (const EngineOption& option : engine_options()) {
    FOVEA_TRY(check(request, option, spelling));
  }
  if (request.model.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is required", spelled(engine_options().front(), spelling)));
  }
  return {};
}

Result<PlanRequest> plan_request(const EngineRequest& request, Spelling spelling) {
  FOVEA_TRY(validate(request, spelling));
  FOVEA_ASSIGN(const engine::Provider* provider, engine::first_provider(request.provider));
  PlanRequest plan;
  plan.model = request.model;
  engine::BuilderConfig& config = plan.config;
  config.provider = request.provider;
  plan.best = request.precision == kBestPrecision;
  config.precision = engine::parse_precision(request.precision).value_or(config.precision);
  config.max_batch = static_cast<std::int32_t>(request.max_batch);
  if (config.max_batch == 0) config.max_batch = provider->default_batch;
  config.threads = static_cast<std::int32_t>(request.threads);
  if (config.threads == 0) {
    config.threads = std::min(usable_cores(), engine::kMaxThreads);
    if (provider->tune != nullptr) config.tuning.thread_counts = thread_counts();
    std::erase_if(config.tuning.thread_counts,
                  [](std::int32_t count) { return count > engine::kMaxThreads; });
  }
  config.keep_output0 = request.keep_output0;
  config.head = request.head;
  FOVEA_ASSIGN(config.picture, input_choice(request, spelling));
  if (request.task != "auto") config.metadata["task"] = request.task;
  if (!request.names.empty()) {
    FOVEA_ASSIGN(const std::vector<std::string> names, read_class_names_file(request.names));
    config.metadata["names"] = metadata_of(names);
  }
  config.tuning.level = static_cast<std::int32_t>(request.tuning_level);
  config.tuning.max_seconds = request.tuning_limit_s;
  config.tuning.cache = request.timing_cache.empty() ? plan_cache(request).timing_cache()
                                                     : std::filesystem::path(request.timing_cache);
  if (!request.input_size.empty()) {
    const char* what = spelling == Spelling::kFlags ? "--input-size" : "input_size";
    FOVEA_ASSIGN(const engine::InputSize size, engine::parse_input_size(what, request.input_size));
    config.input_width = size.width;
    config.input_height = size.height;
  }
  if (!request.min_shapes.empty() || !request.opt_shapes.empty() || !request.max_shapes.empty()) {
    FOVEA_ASSIGN(config.profile,
                 engine::parse_profile(request.min_shapes, request.opt_shapes, request.max_shapes));
    const std::int64_t batch = config.profile.max[0];
    if (request.max_batch > 1 && request.max_batch != batch) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("--batch is {} but the batch of --max-shapes {}", request.max_batch, batch));
    }
    config.max_batch = static_cast<std::int32_t>(std::min<std::int64_t>(batch, INT32_MAX));
  }
  return plan;
}

PlanCache plan_cache(const EngineRequest& request, PlanCache::Builder builder) {
  if (request.no_cache) return PlanCache::none(std::move(builder));
  return PlanCache(request.cache_dir, std::move(builder));
}

std::string to_json(const EngineRequest& request) {
  Json json = Json::object();
  for (const EngineOption& option : engine_options()) {
    std::visit([&](auto member) { json[option.name] = request.*member; }, option.member);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<EngineRequest> engine_request_from_json(std::string_view text) {
  const Json json = parse_json(text);
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "an engine's request must be a JSON object");
  }
  EngineRequest request;
  for (const auto& [name, value] : json.items()) {
    const auto& options = engine_options();
    const auto option = std::find_if(options.begin(), options.end(),
                                     [&](const EngineOption& o) { return o.name == name; });
    if (option == options.end()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' is no option of an engine's request", shown(name)));
    }
    const bool taken = std::visit(
        [&, &json_value = value](auto member) {
          using Value = std::decay_t<decltype(request.*member)>;
          const bool fits = std::is_same_v<Value, bool>          ? json_value.is_boolean()
                            : std::is_same_v<Value, std::string> ? json_value.is_string()
                            : std::is_same_v<Value, double>      ? json_value.is_number()
                                                                 : json_value.is_number_integer();
          if (fits) request.*member = json_value.template get<Value>();
          return fits;
        },
        option->member);
    if (!taken) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' of an engine's request is {}, which is of another type", name,
                              shown(value.dump())));
    }
  }
  return request;
}

}  // namespace fovea
