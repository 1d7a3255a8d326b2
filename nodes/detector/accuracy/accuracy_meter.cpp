#include "nodes/detector/accuracy/accuracy_meter.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/detector/accuracy/label_picture.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"

namespace fovea {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRankingPictures = 50;
constexpr float kSureScore = 0.25F;  // f32 detections that a candidate should find again
constexpr float kLeastAnchor = -2;   // best logit of an anchor that counts
constexpr float kLeastLogit = -3;    // other classes of such an anchor
constexpr float kLeastProbability = 0.01F;  // of a classifier's class that counts
constexpr float kFloorProbability = 1e-6F;  // what a candidate gives at least, for the logarithm

// REQUIRES: not empty.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The objects of a score of at least that, all of one class. COCO's limit per picture is in the
// postprocessor already.
Answer pooled(Answer answer, float least_score) {
  std::erase_if(answer.objects,
                [&](const ScoredObject& object) { return object.score < least_score; });
  for (ScoredObject& object : answer.objects) object.class_id = 0;
  return answer;
}

TaskScore in_points(const TaskScore& score) {
  return {100 * score.map50_95, 100 * score.map50, 100 * score.box_map50_95};
}

// Whether a tensor is a map of cells, channels last, of class logits alone.
bool holds_class_logits(const HeadSpec& head, std::string_view tensor) {
  if (!head.channels_last(tensor)) return false;
  return std::all_of(head.maps.begin(), head.maps.end(), [&](const OutputMap& map) {
    return map.tensor.view() != tensor ||
           (map.role == OutputRole::kClassScore && map.encoding == OutputEncoding::kLogit);
  });
}

// The output of the same stride, if it is a map of cells, that holds what anchors have beside boxes and
// classes.
std::optional<std::size_t> details_beside(const engine::EngineInfo& info, std::string_view scores) {
  const auto& maps = info.head.spec.maps;
  const auto* of_scores = std::find_if(
      maps.begin(), maps.end(), [&](const OutputMap& map) { return map.tensor.view() == scores; });
  const auto* details = std::find_if(maps.begin(), maps.end(), [&](const OutputMap& map) {
    return map.stride == of_scores->stride &&
           (map.role == OutputRole::kKeypoints || map.role == OutputRole::kAngle ||
            map.role == OutputRole::kMaskCoefficients);
  });
  if (details == maps.end()) return std::nullopt;
  const auto output =
      std::find_if(info.outputs.begin(), info.outputs.end(), [&](const engine::TensorSpec& spec) {
        return spec.name == details->tensor.view() && spec.dims.size() == 3;
      });
  if (output == info.outputs.end()) return std::nullopt;
  return static_cast<std::size_t>(output - info.outputs.begin());
}

// How far numbers lie from the mean of their channel (RMS).
class Spread {
 public:
  explicit Spread(std::size_t channels) : sums_(channels), squares_(channels) {}

  void add(std::size_t channel, double value) {
    sums_[channel] += value;
    squares_[channel] += value * value;
    if (channel == 0) ++count_;
  }
  double width() const {
    double variances = 0;
    const auto count = static_cast<double>(count_);
    for (std::size_t c = 0; c < sums_.size() && count_ > 0; ++c) {
      variances += std::max(0.0, squares_[c] / count - sums_[c] * sums_[c] / (count * count));
    }
    return std::sqrt(variances / static_cast<double>(sums_.size()));
  }

 private:
  std::vector<double> sums_;
  std::vector<double> squares_;
  std::size_t count_ = 0;  // by channel
};

}  // namespace

Result<SampleSet> read_sample_set(const fs::path& folder, const LabelFormat& format) {
  if (has_labels(folder, format.task)) {
    FOVEA_ASSIGN(LabelledSet labelled, read_labelled_set(folder, format));
    return SampleSet{true, std::move(labelled.classes), std::move(labelled.pictures)};
  }
  FOVEA_ASSIGN(const auto files, list_pictures(folder));
  SampleSet set;
  for (const std::string& file : files) set.pictures.push_back({file, {}});
  return set;
}

Result<std::string> hash_of(const SampleSet& set) {
  engine::Sha256 hash;
  for (const LabelledPicture& picture : set.pictures) {
    FOVEA_ASSIGN(const auto bytes, read_file(picture.image));
    const Answer& truth = picture.truth;
    hash.add(fmt::format("{} {} {}\n", bytes.size(), set.labelled, truth.objects.size()));
    hash.add(bytes);
    for (const ScoredObject& object : truth.objects) {
      hash.add(fmt::format("{} {} {} {} {}\n", object.class_id, object.x1, object.y1, object.x2,
                           object.y2));
      for (const msgs::Keypoint2D& point : object.keypoints) {
        hash.add(fmt::format("{} {} {}\n", point.x, point.y, point.visibility));
      }
    }
    for (const auto& outline : picture.outlines) {
      hash.add(fmt::format("outline {}\n", outline.size()));
      for (const Point& corner : outline) hash.add(fmt::format("{} {}\n", corner.x, corner.y));
    }
    for (const std::uint32_t class_id : truth.classes) hash.add(fmt::format("{}\n", class_id));
    if (!picture.label_picture.empty()) {
      FOVEA_ASSIGN(const auto labels, read_file(picture.label_picture));
      hash.add(fmt::format("label picture {}\n", labels.size()));
      hash.add(labels);
    }
  }
  return hash.finish();
}

std::vector<AccuracyMeter::Logit> AccuracyMeter::probabilities_of(
    const DetectionPipeline& pipeline) {
  std::vector<Logit> logits;
  const auto probabilities = pipeline.output(0);
  for (std::size_t c = 0; c < probabilities.size(); ++c) {
    if (!(probabilities[c] >= kLeastProbability)) continue;
    logits.push_back({0, static_cast<std::uint32_t>(c), std::log(probabilities[c])});
  }
  return logits;
}

void AccuracyMeter::read_logits(const DetectionPipeline& pipeline, Reference& reference) {
  if (pipeline.task() == Task::kClassify) {
    reference.logits = probabilities_of(pipeline);
    return;
  }
  const engine::EngineInfo& info = pipeline.info();
  for (std::size_t o = 0; o < info.outputs.size(); ++o) {
    const engine::TensorSpec& spec = info.outputs[o];
    if (!holds_class_logits(info.head.spec, spec.name) || spec.dims.size() != 3) continue;
    const std::optional<std::size_t> details = details_beside(info, spec.name);
    const auto classes = static_cast<std::size_t>(spec.dims[2]);
    const auto values = pipeline.output(o);
    for (std::size_t first = 0; first + classes <= values.size(); first += classes) {
      const auto anchor = values.subspan(first, classes);
      if (!(*std::max_element(anchor.begin(), anchor.end()) > kLeastAnchor)) continue;
      for (std::size_t c = 0; c < classes; ++c) {
        if (anchor[c] <= kLeastLogit) continue;
        reference.logits.push_back(
            {static_cast<std::uint32_t>(o), static_cast<std::uint32_t>(first + c), anchor[c]});
      }
      if (!details) continue;
      const auto channels = static_cast<std::size_t>(info.outputs[*details].dims[2]);
      const auto of_anchor =
          pipeline.output(*details).subspan(first / classes * channels, channels);
      reference.details.channels = channels;
      for (std::size_t c = 0; c < channels; ++c) {
        reference.details.values.push_back(
            {static_cast<std::uint32_t>(*details),
             static_cast<std::uint32_t>(first / classes * channels + c), of_anchor[c]});
      }
    }
  }
}

double AccuracyMeter::detail_scale() const {
  Spread logits(1);
  std::optional<Spread> details;
  for (const Reference& reference : references_) {
    for (const Logit& logit : reference.logits) logits.add(0, logit.value);
    const Details& own = reference.details;
    if (!details && own.channels > 0) details.emplace(own.channels);
    for (std::size_t i = 0; i < own.values.size(); ++i) {
      details->add(i % own.channels, own.values[i].value);
    }
  }
  const double width = details ? details->width() : 0;
  return width > 0 ? logits.width() / width : 0;
}

Result<AccuracyMeter> AccuracyMeter::create(std::shared_ptr<const engine::Engine> fp32,
                                            SampleSet set, PictureReader reader,
                                            const engine::Progress& progress) {
  const auto& names = fp32->info().class_names;
  if (set.labelled && !names.empty() && names != set.classes) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the sample set's {} classes are not the model's {}",
                            set.classes.size(), names.size()));
  }
  AccuracyMeter meter;
  meter.set_ = std::move(set);
  meter.reader_ = std::move(reader);
  FOVEA_ASSIGN(DetectionPipeline pipeline, DetectionPipeline::create(std::move(fp32)));
  meter.task_ = pipeline.task();
  TaskAccuracy accuracy(meter.task_);
  std::vector<double> seconds;
  for (const LabelledPicture& labelled : meter.set_.pictures) {
    if (progress) {
      progress("accuracy: f32", static_cast<double>(seconds.size()) /
                                    static_cast<double>(meter.set_.pictures.size()));
    }
    FOVEA_ASSIGN(const Picture picture, meter.reader_(labelled.image));
    auto answer = pipeline.run(picture);
    if (!answer) return fail(answer.error().with_context(labelled.image));
    seconds.push_back(pipeline.inference_seconds());
    Reference reference;
    if (meter.set_.labelled) {
      reference.truth = truth_of(labelled, meter.task_, picture.width, picture.height);
      if (!labelled.label_picture.empty()) {
        FOVEA_ASSIGN(
            reference.truth.labels,
            read_label_picture(labelled.label_picture, meter.set_.classes.size(), meter.reader_));
      }
      accuracy.add(reference.truth, *answer);
    }
    reference.sure = pooled(std::move(*answer), kSureScore);
    read_logits(pipeline, reference);
    meter.findings_ += reference.sure.objects.size() + (reference.sure.classes.empty() ? 0 : 1) +
                       (reference.sure.labels.empty() && reference.sure.depth.empty() ? 0 : 1);
    meter.references_.push_back(std::move(reference));
  }
  meter.detail_scale_ = meter.detail_scale();
  meter.fp32_.agreement = 100;
  meter.fp32_.lax_agreement = 100;
  if (!seconds.empty()) meter.fp32_.seconds = median(std::move(seconds));
  if (meter.set_.labelled) {
    meter.fp32_.score = in_points(accuracy.score());
    meter.fp32_accuracy_ = std::move(accuracy);
    const bool any = meter.fp32_.score.map50_95 > 0;
    meter.findings_ = any ? std::max<std::size_t>(meter.findings_, 1) : 0;
  }
  return meter;
}

Result<Measurement> AccuracyMeter::measure(std::shared_ptr<const engine::Engine> candidate,
                                           Extent extent,
                                           const std::function<void(double)>& advance) const {
  FOVEA_ASSIGN(DetectionPipeline pipeline, DetectionPipeline::create(std::move(candidate)));
  const std::size_t all = set_.pictures.size();
  const std::size_t count = extent == Extent::kAll ? all : std::min(all, kRankingPictures);
  const bool against_labels = set_.labelled && extent == Extent::kAll;
  TaskAccuracy labelled_accuracy(task_);
  TaskAccuracy agreement(task_);
  std::vector<double> seconds;
  double squares = 0;
  std::size_t logits = 0;
  double detail_squares = 0;
  std::size_t details = 0;
  Measurement result;
  for (std::size_t i = 0; i < count; ++i) {
    if (advance) advance(static_cast<double>(i) / static_cast<double>(count));
    const std::size_t index = i * all / count;  // spread over the set
    const LabelledPicture& labelled = set_.pictures[index];
    const Reference& reference = references_[index];
    FOVEA_ASSIGN(const Picture picture, reader_(labelled.image));
    auto answer = pipeline.run(picture);
    if (!answer) return fail(answer.error().with_context(labelled.image));
    seconds.push_back(pipeline.inference_seconds());
    for (const Logit& logit : reference.logits) {
      const float value = pipeline.output(logit.output)[logit.index];
      const double change = static_cast<double>(task_ == Task::kClassify
                                                    ? std::log(std::max(value, kFloorProbability))
                                                    : value) -
                            logit.value;
      squares += change * change;
    }
    logits += reference.logits.size();
    for (const Logit& detail : reference.details.values) {
      const double change = static_cast<double>(pipeline.output(detail.output)[detail.index]) -
                            static_cast<double>(detail.value);
      detail_squares += change * change * detail_scale_ * detail_scale_;
    }
    details += reference.details.values.size();
    if (against_labels) labelled_accuracy.add(reference.truth, *answer);
    agreement.add(reference.sure, pooled(std::move(*answer), 0));
  }
  if (!seconds.empty()) result.seconds = median(std::move(seconds));
  const TaskScore agreed = in_points(agreement.score());
  result.agreement = agreed.map50_95;
  result.lax_agreement = finds_objects(task_) ? agreed.box_map50_95 : agreed.map50;
  if (logits > 0) squares /= static_cast<double>(logits);
  if (details > 0) squares += detail_squares / static_cast<double>(details);
  result.dlogit = logits == 0 ? 100 - result.agreement : std::sqrt(squares);
  if (against_labels) {
    result.score = in_points(labelled_accuracy.score());
    result.loss = fp32_.score.map50_95 - result.score.map50_95;
    result.half_width =
        100 * TaskAccuracy::difference_half_width(*fp32_accuracy_, labelled_accuracy);
  }
  return result;
}

}  // namespace fovea
