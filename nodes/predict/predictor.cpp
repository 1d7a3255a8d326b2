#include "nodes/predict/predictor.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/instruction_set.hpp"
#include "nodes/base/text.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/predict/found.hpp"

namespace fovea::predict {

namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// Errors: kUnsupported, with what can be decoded.
Result<msgs::ModelInfo> describe(const EngineRequest& request, const engine::EngineInfo& info) {
  auto model = describe_model(info, model_id(info));
  if (model) return model;
  if (model.error().code != ErrorCode::kUnsupported) {
    return fail(model.error().with_context(said(request.model)));
  }
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("{}: {}. `fovea predict` decodes heads of the YOLO family; `fovea engine inspect "
                  "--onnx FILE` shows the outputs",
                  said(request.model), model.error().message));
}

// A model that nobody can decode costs nobody a build, nor do thresholds of classes that it lacks.
Result<> check_model(const PredictorOptions& options) {
  const EngineRequest& request = options.engine;
  FOVEA_ASSIGN(const PlanRequest plan, plan_request(request, Spelling::kParameters));
  engine::BuilderConfig config = plan.config;
  if (request.quantizes()) config.precision = engine::Precision::kFp32;
  FOVEA_ASSIGN(const engine::EngineInfo info, engine::preview_engine(plan.model, config));
  FOVEA_ASSIGN(const msgs::ModelInfo model, describe(request, info));
  FOVEA_TRY(Postprocessor::create(model, options.postprocess));
  return {};
}

// "avx512_vnni/4x5/weights" is of avx512_vnni.
std::string highest_instruction_set(const engine::EngineInspection& inspection) {
  std::optional<InstructionSet> highest;
  for (const engine::LayerReport& layer : inspection.layers) {
    const std::string_view kernel = layer.implementation;
    const auto set = parse_instruction_set(kernel.substr(0, kernel.find('/')));
    if (set && (!highest || *set > *highest)) highest = set;
  }
  return highest ? std::string(to_string(*highest)) : "";
}

LabelMap label_map_of(const SemanticLabels& labels) {
  LabelMap map{labels.width(), labels.height()};
  map.labels.resize(std::size_t{map.width} * map.height);
  for (std::uint32_t y = 0; y < map.height; ++y) {
    labels.row(y, std::span(map.labels).subspan(std::size_t{y} * map.width, map.width));
  }
  return map;
}

}  // namespace

// The messages of all tasks. Only the task's own one is used.
struct Predictor::MoreThanBoxes {
  msgs::KeypointDetection2DArray keypoints;
  msgs::OrientedDetection2DArray oriented_boxes;
  msgs::Classification classification;
  msgs::SemanticMap semantic_map;
  msgs::DepthMap depth;
};

Predictor::Predictor() = default;
Predictor::~Predictor() = default;

Result<std::unique_ptr<Predictor>> Predictor::create(const PredictorOptions& options,
                                                     const PictureReader& reader,
                                                     const EngineBuildEvents& events,
                                                     const std::function<void()>& building) {
  const EngineRequest& request = options.engine;
  auto cached = build_or_load(request, reader, {}, Spelling::kParameters, CacheUse::kFindOnly);
  if (!cached) {
    if (cached.error().code != ErrorCode::kNotFound) return fail(cached.error());
    FOVEA_TRY(check_model(options));
    building();
    cached = build_or_load(request, reader, events, Spelling::kParameters);
    if (!cached) return fail(cached.error());
  }
  auto predictor = std::unique_ptr<Predictor>(new Predictor());
  if (!cached->warning.empty()) predictor->warnings_.push_back(cached->warning);
  if (cached->damaged) predictor->warnings_.push_back(cached->reason);
  FOVEA_TRY(predictor->prepare(options, cached->plan));
  return predictor;
}

Result<> Predictor::prepare(const PredictorOptions& options, const engine::Plan& plan) {
  FOVEA_ASSIGN(engine_, engine::load_engine(plan));
  FOVEA_ASSIGN(context_, engine_->create_execution_context());
  const engine::EngineInfo& info = engine_->info();
  instruction_set_ = highest_instruction_set(engine_->inspect());
  warnings_.insert(warnings_.end(), info.head.warnings.begin(), info.head.warnings.end());
  if (info.precision != plan.precision) {
    warnings_.push_back(
        fmt::format("this CPU (or FOVEA_ISA) has no {} arithmetic; the engine runs in {}",
                    to_string(plan.precision), to_string(info.precision)));
  }

  FOVEA_ASSIGN(const msgs::ModelInfo model, describe(options.engine, info));
  task_ = model.head.task();
  for (const msgs::ClassName& name : model.class_names) class_names_.emplace_back(name.view());
  FOVEA_ASSIGN(auto letterbox, Letterbox::create({.network_width = model.network_width,
                                                  .network_height = model.network_height,
                                                  .resize = model.input.resize,
                                                  .pad = model.input.border}));
  letterbox_.emplace(std::move(letterbox));
  FOVEA_ASSIGN(auto postprocessor, Postprocessor::create(model, options.postprocess));
  postprocessor_.emplace(std::move(postprocessor));
  preprocess_.emplace(letterbox_);
  decode_.emplace(postprocessor_);

  heads_ = describe_heads(info, model.model_id);
  input_ = allocate_host(info.input.bytes);
  outputs_ = allocate_host(heads_.bytes);
  for (const msgs::TensorView& view : heads_.message.tensors) {
    output_views_.push_back({outputs_.get() + view.offset, view.bytes});
  }
  found_ = std::make_unique<msgs::Detection2DArray>();
  more_ = std::make_unique<MoreThanBoxes>();

  // No picture's time has the cost of a first run in it.
  std::fill_n(input_.get(), info.input.bytes, std::byte{model.input.border});
  const engine::BatchItem item{{input_.get(), info.input.bytes}, output_views_};
  return context_->execute({&item, 1});
}

void Predictor::add_found(Prediction& prediction) {
  prediction.objects = objects_of(*found_);
  switch (task_) {
    case Task::kSegment:
      for (std::size_t i = 0; i < prediction.objects.size(); ++i) {
        const auto runs = postprocessor_->mask_runs(i);
        prediction.objects[i].mask.assign(runs.begin(), runs.end());
      }
      break;
    case Task::kPose:
      postprocessor_->keypoints(more_->keypoints);
      add_keypoints(more_->keypoints, prediction.objects);
      break;
    case Task::kObb:
      postprocessor_->oriented_boxes(more_->oriented_boxes);
      add_corners(more_->oriented_boxes, prediction.objects);
      break;
    case Task::kClassify:
      postprocessor_->classification(more_->classification);
      prediction.classes = classes_of(more_->classification);
      break;
    case Task::kSemantic:
      postprocessor_->semantic_map(more_->semantic_map);
      prediction.classes = classes_of(more_->semantic_map);
      prediction.map = label_map_of(postprocessor_->labels());
      break;
    case Task::kDepth:
      postprocessor_->depth(more_->depth);
      prediction.depth = depth_of(more_->depth);
      break;
    default:
      break;
  }
}

Result<Prediction> Predictor::run(const Picture& picture) {
  const engine::EngineInfo& info = engine_->info();
  msgs::Image image;
  image.width = picture.width;
  image.height = picture.height;
  image.step = 3 * picture.width;
  image.encoding = msgs::Encoding::kBgr8;
  const auto start = Clock::now();
  StageOut<msgs::Tensor> tensor{tensor_, {input_.get(), info.input.bytes}, {}};
  FOVEA_TRY(preprocess_->process({image, picture.bgr}, tensor));
  const auto preprocessed = Clock::now();

  const engine::BatchItem item{{input_.get(), info.input.bytes}, output_views_};
  FOVEA_TRY(context_->execute({&item, 1}));
  const auto inferred = Clock::now();

  heads_.message.letterbox = tensor_.letterbox;
  StageOut<msgs::Detection2DArray> found{*found_, {}, {}};
  FOVEA_TRY(decode_->process({heads_.message, {outputs_.get(), heads_.bytes}}, found));

  Prediction prediction;
  prediction.task = task_;
  prediction.width = picture.width;
  prediction.height = picture.height;
  prediction.warning = found.warning;
  add_found(prediction);
  prediction.times = {ms_between(start, preprocessed), ms_between(preprocessed, inferred),
                      ms_between(inferred, Clock::now())};
  return prediction;
}

}  // namespace fovea::predict
