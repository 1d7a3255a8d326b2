// Raw head maps in, detections out: `<camera>/heads` -> `<camera>/detections` for every camera, and
// what the model finds beside boxes on a topic of its own. The end of the pipeline, so it also measures
// each frame's latency from capture to publication.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "msgs/model_info.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/postprocess/decode_stage.hpp"
#include "nodes/postprocess/postprocess_parameters.hpp"
#include "nodes/postprocess/result_topic.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/stages/stage_node.hpp"

namespace fovea {
namespace {

class CameraStage;

// The model that all cameras' stages decode for.
struct Model {
  std::optional<Postprocessor> postprocessor;
  std::vector<msgs::ClassName> class_names;  // by class id
  std::uint64_t number = 0;                  // grows with every model
  std::vector<CameraStage*> stages;
};

// Decodes one camera's frames, sends what is found beside boxes, and counts.
class CameraStage final : public DecodeStage {
 public:
  CameraStage(Model& model, const Domain& domain, Reliability reliability, MetricsPage& page,
              std::string camera)
      : DecodeStage(model.postprocessor),
        model_(model),
        domain_(domain),
        reliability_(reliability),
        page_(page),
        camera_(std::move(camera)),
        frames_not_finite_(page.counter("frames_not_finite", camera_)) {
    model_.stages.push_back(this);
    if (model_.postprocessor) open_topic();
  }
  ~CameraStage() override { std::erase(model_.stages, this); }

  // For the task of a new model. As soon as the model is known, so that readers are there with the
  // first frame.
  void open_topic() {
    const Task task = model_.postprocessor->task();
    if (task == topic_task_ && topic_problem_.empty()) return;
    if (topic_ != nullptr) page_.counter(kTopicWrites, camera_, topic_->name()) = 0;
    topic_.reset();
    topic_task_ = task;
    auto created = ResultTopic::create(domain_, camera_, task, reliability_);
    topic_problem_ = created ? "" : created.error().message;
    if (created) topic_ = std::move(*created);
    if (topic_ != nullptr) page_.counter(kTopicWrites, camera_, topic_->name()) = 1;
  }

  Result<> process(const StageIn<msgs::TensorArray>& in,
                   StageOut<msgs::Detection2DArray>& out) override {
    const std::int64_t started = monotonic_ns();
    const Result<> done = DecodeStage::process(in, out);
    const bool not_finite = done ? !out.warning.empty() : done.error().code == ErrorCode::kCorrupt;
    if (not_finite) ++frames_not_finite_;
    if (!done) return done;
    if (topic_ != nullptr) {
      msgs::Header header = out.message.header;
      header.stages.push_back({std::string_view(page_.type()), started, monotonic_ns()});
      topic_->publish(*model_.postprocessor, header);
      const std::uint32_t masks = model_.postprocessor->masks_without_room();
      if (masks > 0 && out.warning.empty()) {
        out.warning = fmt::format(
            "the masks of {} detections are left out: a message holds at most {} run lengths",
            masks, msgs::InstanceMask2DArray::kMaxRuns);
      }
      const std::uint32_t rows = model_.postprocessor->labels().rows_without_room();
      if (rows > 0 && out.warning.empty()) {
        out.warning =
            fmt::format("the last {} rows of the map are left out: a message holds at most {} runs",
                        rows, msgs::SemanticMap::kMaxRuns);
      }
    } else if (!topic_problem_.empty() && out.warning.empty()) {
      out.warning = topic_problem_;
    }
    for (const msgs::Detection2D& detection : out.message.detections) {
      ++class_counter(detection.hypothesis.class_id);
    }
    if (const auto best = model_.postprocessor->best_class()) ++class_counter(*best);
    return {};
  }

 private:
  // Made when the class is first seen: most models know many more than a camera ever shows.
  Counter& class_counter(std::uint32_t class_id) {
    if (std::exchange(counted_, model_.number) != model_.number) {
      per_class_.assign(model_.class_names.size(), nullptr);
    }
    Counter*& counter = per_class_[class_id];
    if (counter == nullptr) {
      counter = &page_.counter("detections", camera_, model_.class_names[class_id].view());
    }
    return *counter;
  }

  Model& model_;
  const Domain& domain_;
  Reliability reliability_;
  MetricsPage& page_;
  std::string camera_;
  Task topic_task_ = Task::kDetect;
  std::unique_ptr<ResultTopic> topic_;
  std::string topic_problem_;  // why there is none; empty = the task needs none, or it is there
  Counter& frames_not_finite_;       // NaN or infinity among the model's outputs
  std::vector<Counter*> per_class_;  // by class id; null until one is seen
  std::uint64_t counted_ = 0;        // the model that per_class_ is of
};

class PostprocessNode final : public StageNode<msgs::TensorArray, msgs::Detection2DArray> {
 public:
  PostprocessNode()
      : StageNode(
            "postprocess", "Decodes detector outputs, suppresses overlaps, publishes what is found",
            {.input = "heads",
             .output = "detections",
             .latencies = {{"latency_us", StageLatency::Since::kCaptured}, {"postprocess_us"}}}) {}

  void declare_stage_parameters(ParameterSet& p) override {
    p.add("detector", &detector_, "Node whose model_info says what its outputs mean")
        .checked_by([](std::string_view name) { return check_name("detector", name); });
    parameters_.declare(p);
  }

  Result<> configure() override {
    auto configured = std::make_unique<Configured>();
    configured->options = parameters_.options();
    FOVEA_ASSIGN(auto info, Subscription<msgs::ModelInfo>::create(
                                domain(), detector_ + "/model_info",
                                {.durability = Durability::kTransientLocal}));
    configured->model_info.emplace(std::move(info));
    configured_ = std::move(configured);
    return {};
  }

  Result<std::unique_ptr<Stage>> make_stage(const std::string& camera) override {
    return std::make_unique<CameraStage>(configured_->model, domain(), reliability(), metrics(),
                                         camera);
  }

  Result<> activate() override {
    if (!configured_->model.postprocessor) {
      set_status(msgs::DiagnosticLevel::kWarn, fmt::format("waiting for {}/model_info", detector_));
    }
    configured_->registration =
        spin(*configured_->model_info,
             [this](Received<msgs::ModelInfo>&& info) { set_model(info.message); });
    return {};
  }

  void deactivate() override { executor().remove(std::exchange(configured_->registration, 0)); }

  void cleanup() override { configured_.reset(); }

 private:
  struct Configured {
    PostprocessOptions options;
    std::optional<Subscription<msgs::ModelInfo>> model_info;
    Model model;
    Executor::Id registration = 0;
  };

  void set_model(const msgs::ModelInfo& info) {
    auto made = Postprocessor::create(info, configured_->options);
    if (!made) {
      log_error("{}/model_info refused: {}", detector_, made.error().message);
      set_status(msgs::DiagnosticLevel::kError, made.error().message);
      return;
    }
    Model& model = configured_->model;
    model.postprocessor.emplace(std::move(*made));
    model.class_names.assign(info.class_names.begin(), info.class_names.end());
    ++model.number;
    for (CameraStage* stage : model.stages) stage->open_topic();
    set_status(msgs::DiagnosticLevel::kOk, "");
  }

  std::string detector_ = "detector";
  PostprocessParameters parameters_;

  std::unique_ptr<Configured> configured_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<PostprocessNode>(); }

}  // namespace fovea
