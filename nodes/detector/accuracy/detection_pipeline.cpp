#include "nodes/detector/accuracy/detection_pipeline.hpp"

#include <chrono>
#include <utility>

#include "nodes/detector/model_description.hpp"

namespace fovea {

ImageView view_of(const Picture& picture) {
  return {picture.bgr, picture.width, picture.height, picture.width * 3, msgs::Encoding::kBgr8};
}

Result<Letterbox> letterbox_for(const engine::EngineInfo& info) {
  return Letterbox::create({.network_width = static_cast<std::uint32_t>(info.input.dims[1]),
                            .network_height = static_cast<std::uint32_t>(info.input.dims[0]),
                            .resize = info.picture.resize,
                            .pad = info.picture.border});
}

Result<DetectionPipeline> DetectionPipeline::create(std::shared_ptr<const engine::Engine> engine) {
  FOVEA_ASSIGN(auto context, engine->create_execution_context());
  FOVEA_ASSIGN(auto letterbox, letterbox_for(engine->info()));
  FOVEA_ASSIGN(const msgs::ModelInfo model, describe_model(engine->info(), 0));
  FOVEA_ASSIGN(auto postprocessor, Postprocessor::create(model, PostprocessOptions::evaluation()));
  FOVEA_ASSIGN(auto bindings, engine->make_bindings());
  return DetectionPipeline(std::move(engine), std::move(context), std::move(bindings),
                           std::move(letterbox), std::move(postprocessor));
}

DetectionPipeline::DetectionPipeline(std::shared_ptr<const engine::Engine> engine,
                                     std::unique_ptr<engine::ExecutionContext> context,
                                     engine::Bindings bindings, Letterbox letterbox,
                                     Postprocessor postprocessor)
    : engine_(std::move(engine)),
      context_(std::move(context)),
      bindings_(std::move(bindings)),
      letterbox_(std::move(letterbox)),
      postprocessor_(std::move(postprocessor)),
      found_(std::make_unique<msgs::Detection2DArray>()),
      keypoints_(std::make_unique<msgs::KeypointDetection2DArray>()),
      turned_boxes_(std::make_unique<msgs::OrientedDetection2DArray>()) {}

Result<Answer> DetectionPipeline::run(const Picture& picture) {
  FOVEA_ASSIGN(const auto transform, letterbox_.run(view_of(picture), bindings_.input()));
  const auto start = std::chrono::steady_clock::now();
  FOVEA_TRY(context_->execute(bindings_.batch()));
  inference_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto& outputs = engine_->info().outputs;
  std::vector<HeadTensor> tensors;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    tensors.push_back(
        {outputs[i].name, msgs::DataType::kFloat32, outputs[i].dims, bindings_.output(i)});
  }
  FOVEA_TRY(postprocessor_.run(tensors, transform, *found_));
  if (task() == Task::kPose) postprocessor_.keypoints(*keypoints_);
  if (task() == Task::kObb) postprocessor_.oriented_boxes(*turned_boxes_);
  return answer();
}

Answer DetectionPipeline::answer() const {
  Answer answer;
  if (task() == Task::kClassify) {
    msgs::Classification best;
    postprocessor_.classification(best);
    for (const msgs::ClassScore& result : best.results) {
      answer.classes.push_back(result.hypothesis.class_id);
    }
    return answer;
  }
  if (task() == Task::kSemantic) {
    const SemanticLabels& labels = postprocessor_.labels();
    answer.labels = {labels.width(), labels.height()};
    answer.labels.labels.resize(std::size_t{labels.width()} * labels.height());
    for (std::uint32_t y = 0; y < labels.height(); ++y) {
      labels.row(
          y,
          std::span(answer.labels.labels).subspan(std::size_t{y} * labels.width(), labels.width()));
    }
    return answer;
  }
  if (task() == Task::kDepth) {
    const auto depth = std::make_unique<msgs::DepthMap>();
    postprocessor_.depth(*depth);
    answer.depth = {depth->width, depth->height, {depth->depth.begin(), depth->depth.end()}};
    return answer;
  }
  for (std::size_t i = 0; i < found_->detections.size(); ++i) {
    const msgs::Detection2D& detection = found_->detections[i];
    const auto& box = detection.bbox;
    ScoredObject object{box.center_x - box.size_x / 2, box.center_y - box.size_y / 2,
                        box.center_x + box.size_x / 2, box.center_y + box.size_y / 2,
                        detection.hypothesis.score,    detection.hypothesis.class_id};
    if (task() == Task::kSegment) {
      const auto runs = postprocessor_.mask_runs(i);
      object.mask_runs.assign(runs.begin(), runs.end());
    } else if (task() == Task::kPose) {
      const auto& points = keypoints_->detections[i].keypoints;
      object.keypoints.assign(points.begin(), points.end());
    } else if (task() == Task::kObb) {
      const msgs::OrientedBox2D& turned = turned_boxes_->detections[i].bbox;
      object.turned = {turned.center_x, turned.center_y, turned.size_x, turned.size_y,
                       turned.theta};
    }
    answer.objects.push_back(std::move(object));
  }
  return answer;
}

std::span<const float> DetectionPipeline::output(std::size_t index) const {
  const auto bytes = bindings_.output(index);
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

}  // namespace fovea
