// Raw head maps in, detections out: `<camera>/heads` -> `<camera>/detections` for every camera. The
// end of the pipeline, so it also measures each frame's latency from capture to publication.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "msgs/detection.hpp"
#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/postprocess/postprocessor.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/node.hpp"
#include "nodes/runtime/reliability.hpp"

namespace fovea {
namespace {

class PostprocessNode final : public Node {
 public:
  PostprocessNode()
      : Node("postprocess", "Decodes detector outputs, suppresses overlaps, publishes boxes") {}

  void declare_parameters(ParameterSet& p) override {
    p.add("cameras", &cameras_, "Names of the cameras to serve").required();
    p.add("detector", &detector_, "Node whose model_info says what its outputs mean");
    p.add("score_threshold", &score_threshold_, "Least score of a detection", Range{0, 1});
    p.add("iou_threshold", &iou_threshold_, "Overlap above which the lower score goes",
          Range{0, 1});
    p.add("class_thresholds", &class_thresholds_,
          "Score thresholds by class name or number, in place of score_threshold", Range{0, 1});
    p.add("class_agnostic", &class_agnostic_, "Boxes of different classes suppress each other");
    p.add("max_detections", &max_detections_, "Most detections of one frame",
          Range{1, msgs::Detection2DArray::kMaxDetections});
    p.add("max_candidates", &max_candidates_, "Most boxes that enter the suppression",
          Range{1, PostprocessOptions::kMaxCandidates});
    add_reliability(p, &reliability_);
  }

  Result<> on_configure() override {
    options_.score_threshold = static_cast<float>(score_threshold_);
    options_.iou_threshold = static_cast<float>(iou_threshold_);
    options_.class_agnostic = class_agnostic_;
    options_.max_detections = static_cast<std::size_t>(max_detections_);
    options_.max_candidates = static_cast<std::size_t>(max_candidates_);
    for (const auto& [label, threshold] : class_thresholds_) {
      options_.class_thresholds[label] = static_cast<float>(threshold);
    }
    const QoS qos{.reliability = to_reliability(reliability_)};
    for (const std::string& camera : cameras_) {
      FOVEA_TRY(check_name("camera", camera));
      auto stream = std::make_unique<Stream>(metrics(), camera);
      FOVEA_ASSIGN(auto detections,
                   Publisher<msgs::Detection2DArray>::create(domain(), camera + "/detections", qos,
                                                             {}, &stream->ledger));
      stream->detections.emplace(std::move(detections));
      FOVEA_ASSIGN(auto heads, Subscription<msgs::TensorArray>::create(domain(), camera + "/heads",
                                                                       qos, &stream->ledger));
      stream->heads.emplace(std::move(heads));
      streams_.push_back(std::move(stream));
    }
    FOVEA_ASSIGN(auto info, Subscription<msgs::ModelInfo>::create(
                                domain(), detector_ + "/model_info",
                                {.durability = Durability::kTransientLocal}));
    model_info_.emplace(std::move(info));
    return {};
  }

  Result<> on_activate() override {
    if (!postprocessor_) {
      set_status(msgs::DiagnosticLevel::kWarn, fmt::format("waiting for {}/model_info", detector_));
    }
    registrations_.push_back(
        spin(*model_info_, [this](Received<msgs::ModelInfo>&& info) { set_model(info.message); }));
    for (auto& stream : streams_) {
      registrations_.push_back(spin(
          *stream->heads,
          [this, s = stream.get()](Received<msgs::TensorArray>&& heads) { process(*s, heads); }));
    }
    return {};
  }

  Result<> on_deactivate() override {
    for (Executor::Id id : registrations_) executor().remove(id);
    registrations_.clear();
    for (auto& stream : streams_) {  // what already arrived still leaves
      stream->heads->drain();
      while (auto heads = stream->heads->take()) process(*stream, *heads);
    }
    return {};
  }

  Result<> on_cleanup() override {
    streams_.clear();
    model_info_.reset();
    postprocessor_.reset();
    return {};
  }

 private:
  struct Stream {
    Stream(MetricsPage& page, const std::string& name)
        : camera(name),
          ledger(page, name),
          latency_us(page.histogram("latency_us", name)),
          postprocess_us(page.histogram("postprocess_us", name)),
          frames_not_finite(page.counter("frames_not_finite", name)) {}

    std::string camera;
    StageLedger ledger;
    Histogram& latency_us;      // capture to publication
    Histogram& postprocess_us;  // inference to publication
    Counter& frames_not_finite;  // NaN or infinity among the model's outputs
    std::optional<Subscription<msgs::TensorArray>> heads;
    std::optional<Publisher<msgs::Detection2DArray>> detections;
    std::vector<Counter*> per_class;  // by class id; null until one is seen
    bool awaited_reader = false;
    std::string trouble;      // of frames that come now; empty if they are good
    bool not_finite = false;  // trouble is of that kind: its numbers vary, and it is logged once
  };

  void set_model(const msgs::ModelInfo& info) {
    auto made = Postprocessor::create(info, options_);
    if (!made) {
      log_error("{}/model_info refused: {}", detector_, made.error().message);
      set_status(msgs::DiagnosticLevel::kError, made.error().message);
      return;
    }
    postprocessor_.emplace(std::move(*made));
    class_names_.assign(info.class_names.begin(), info.class_names.end());
    for (auto& stream : streams_) {
      stream->per_class.assign(info.class_names.size(), nullptr);
    }
    show_trouble();
  }

  // Of the first camera that has any; a good frame of it clears it.
  void show_trouble() {
    if (!postprocessor_) return;  // what is wrong with the model is shown
    const auto troubled = std::find_if(streams_.begin(), streams_.end(),
                                       [](const auto& s) { return !s->trouble.empty(); });
    if (troubled == streams_.end()) return set_status(msgs::DiagnosticLevel::kOk, "");
    set_status(
        (*troubled)->not_finite ? msgs::DiagnosticLevel::kWarn : msgs::DiagnosticLevel::kError,
        fmt::format("{}/heads: {}", (*troubled)->camera, (*troubled)->trouble));
  }

  // What is wrong with the frames that come now, logged when it begins; empty = nothing any more.
  void set_trouble(Stream& stream, const std::string& trouble, bool not_finite, std::uint64_t seq) {
    const bool same = not_finite ? stream.not_finite : trouble == stream.trouble;
    if (same) return;
    if (trouble.empty()) {
      log_info("{}/heads: frame {} is good again", stream.camera, seq);
    } else {
      log_warning("{}/heads: from frame {} on: {}", stream.camera, seq, trouble);
    }
    stream.trouble = trouble;
    stream.not_finite = not_finite;
    show_trouble();
  }

  void process(Stream& stream, Received<msgs::TensorArray>& heads) {
    const std::int64_t started = monotonic_ns();
    const auto run =
        postprocessor_
            ? postprocessor_->run(heads.message, heads.buffer.data(), result_)
            : Result<>(fail(ErrorCode::kUnavailable, "the detector's model_info is not here yet"));
    if (!run) {
      stream.ledger.drop(DropReason::kError);
      const bool not_finite = run.error().code == ErrorCode::kCorrupt;
      if (not_finite) ++stream.frames_not_finite;
      set_trouble(stream, "frames are refused: " + run.error().message, not_finite,
                  heads.message.header.seq);
      return;
    }
    const NotFinite& broken = postprocessor_->not_finite();
    if (broken.any()) {
      ++stream.frames_not_finite;
      set_trouble(stream,
                  fmt::format("the model gives NaN or infinity as scores of {} anchors and for {} "
                              "boxes, which are left out",
                              broken.scores, broken.boxes),
                  true, heads.message.header.seq);
    } else {
      set_trouble(stream, "", false, heads.message.header.seq);
    }
    heads.buffer = {};  // the detector may have its slot back
    for (const msgs::Detection2D& detection : result_.detections) {
      ++class_counter(stream, detection.hypothesis.class_id);
    }
    msgs::StageStamps& stages = result_.header.stages;
    stages.postprocess_started = started;
    stages.published = monotonic_ns();
    record(stream.latency_us, stages.captured, stages.published);
    record(stream.postprocess_us, stages.inferred, stages.published);
    if (reliability_ == "reliable" && !std::exchange(stream.awaited_reader, true)) {
      wait_for_subscription(*stream.detections, kReaderTimeout, [] { return false; });
    }
    stream.detections->publish(result_);
  }

  // Made when the class is first seen: most models know many more than a camera ever shows.
  Counter& class_counter(Stream& stream, std::uint32_t class_id) {
    Counter*& counter = stream.per_class[class_id];
    if (counter == nullptr) {
      counter = &metrics().counter("detections", stream.camera, class_names_[class_id].view());
    }
    return *counter;
  }

  static void record(Histogram& histogram, std::int64_t from_ns, std::int64_t to_ns) {
    histogram.record(static_cast<std::uint64_t>(std::max<std::int64_t>(to_ns - from_ns, 0) / 1000));
  }

  std::vector<std::string> cameras_;
  std::string detector_ = "detector";
  double score_threshold_ = 0.25;
  double iou_threshold_ = 0.45;
  std::map<std::string, double> class_thresholds_;
  bool class_agnostic_ = false;
  std::int64_t max_detections_ = 100;
  std::int64_t max_candidates_ = 1000;
  std::string reliability_ = "best_effort";

  PostprocessOptions options_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Executor::Id> registrations_;
  std::optional<Subscription<msgs::ModelInfo>> model_info_;
  std::optional<Postprocessor> postprocessor_;
  std::vector<msgs::ClassName> class_names_;  // by class id
  msgs::Detection2DArray result_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<PostprocessNode>(); }

}  // namespace fovea
