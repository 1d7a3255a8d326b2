#include "nodes/detector/accuracy/accuracy_meter.hpp"

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/file_io.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"

namespace fovea {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRankingPictures = 50;
constexpr float kSureScore = 0.25F;  // f32 detections that a candidate should find again
constexpr float kLeastAnchor = -2;   // best logit of an anchor that counts
constexpr float kLeastLogit = -3;    // other classes of such an anchor

// REQUIRES: not empty.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// COCO's limit per picture is in the postprocessor already.
std::vector<ScoredBox> pooled(std::vector<ScoredBox> boxes, float least_score) {
  std::erase_if(boxes, [&](const ScoredBox& box) { return box.score < least_score; });
  for (ScoredBox& box : boxes) box.class_id = 0;
  return boxes;
}

// Whether a tensor is a map of cells, channels last, of class logits alone.
bool holds_class_logits(const HeadSpec& head, std::string_view tensor) {
  if (!head.channels_last(tensor)) return false;
  return std::all_of(head.maps.begin(), head.maps.end(), [&](const OutputMap& map) {
    return map.tensor.view() != tensor ||
           (map.role == OutputRole::kClassScore && map.encoding == OutputEncoding::kLogit);
  });
}

}  // namespace

Result<SampleSet> read_sample_set(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "classes.txt", error)) {
    FOVEA_ASSIGN(LabelledSet labelled, read_labelled_set(folder));
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
    hash.add(fmt::format("{} {} {}\n", bytes.size(), set.labelled, picture.boxes.size()));
    hash.add(bytes);
    for (const ScoredBox& box : picture.boxes) {
      hash.add(fmt::format("{} {} {} {} {}\n", box.class_id, box.x1, box.y1, box.x2, box.y2));
    }
  }
  return hash.finish();
}

std::vector<AccuracyMeter::Logit> AccuracyMeter::logits_of(const DetectionPipeline& pipeline) {
  std::vector<Logit> logits;
  const engine::EngineInfo& info = pipeline.info();
  for (std::size_t o = 0; o < info.outputs.size(); ++o) {
    const engine::TensorSpec& spec = info.outputs[o];
    if (!holds_class_logits(info.head.spec, spec.name) || spec.dims.size() != 3) continue;
    const auto classes = static_cast<std::size_t>(spec.dims[2]);
    const auto values = pipeline.output(o);
    for (std::size_t first = 0; first + classes <= values.size(); first += classes) {
      const auto anchor = values.subspan(first, classes);
      if (!(*std::max_element(anchor.begin(), anchor.end()) > kLeastAnchor)) continue;
      for (std::size_t c = 0; c < classes; ++c) {
        if (anchor[c] <= kLeastLogit) continue;
        logits.push_back(
            {static_cast<std::uint32_t>(o), static_cast<std::uint32_t>(first + c), anchor[c]});
      }
    }
  }
  return logits;
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
  std::vector<PictureResult> results;
  std::vector<double> seconds;
  for (const LabelledPicture& labelled : meter.set_.pictures) {
    if (progress) {
      progress("accuracy: f32", static_cast<double>(results.size()) /
                                    static_cast<double>(meter.set_.pictures.size()));
    }
    FOVEA_ASSIGN(const Picture picture, meter.reader_(labelled.image));
    auto boxes = pipeline.run(picture);
    if (!boxes) return fail(boxes.error().with_context(labelled.image));
    seconds.push_back(pipeline.inference_seconds());
    meter.references_.push_back(
        {in_pixels(labelled.boxes, picture.width, picture.height), *boxes, logits_of(pipeline)});
    meter.findings_ += static_cast<std::size_t>(
        std::count_if(boxes->begin(), boxes->end(),
                      [](const ScoredBox& box) { return box.score >= kSureScore; }));
    results.push_back({meter.references_.back().truth, std::move(*boxes)});
  }
  meter.fp32_.agreement = 100;
  if (!seconds.empty()) meter.fp32_.seconds = median(std::move(seconds));
  if (meter.set_.labelled) {
    const Accuracy accuracy = evaluate_accuracy(results);
    meter.fp32_.map50 = 100 * accuracy.map50;
    meter.fp32_.map50_95 = 100 * accuracy.map50_95;
    meter.findings_ = accuracy.map50_95 > 0 ? std::max<std::size_t>(meter.findings_, 1) : 0;
  }
  return meter;
}

Result<Measurement> AccuracyMeter::measure(std::shared_ptr<const engine::Engine> candidate,
                                           Extent extent,
                                           const std::function<void(double)>& advance) const {
  FOVEA_ASSIGN(DetectionPipeline pipeline, DetectionPipeline::create(std::move(candidate)));
  const std::size_t all = set_.pictures.size();
  const std::size_t count = extent == Extent::kAll ? all : std::min(all, kRankingPictures);
  std::vector<PictureResult> against_labels;
  std::vector<PictureResult> of_fp32;
  std::vector<PictureResult> against_fp32;
  std::vector<double> seconds;
  double squares = 0;
  std::size_t logits = 0;
  Measurement result;
  for (std::size_t i = 0; i < count; ++i) {
    if (advance) advance(static_cast<double>(i) / static_cast<double>(count));
    const std::size_t index = i * all / count;  // spread over the set
    const LabelledPicture& labelled = set_.pictures[index];
    const Reference& reference = references_[index];
    FOVEA_ASSIGN(const Picture picture, reader_(labelled.image));
    auto boxes = pipeline.run(picture);
    if (!boxes) return fail(boxes.error().with_context(labelled.image));
    seconds.push_back(pipeline.inference_seconds());
    for (const Logit& logit : reference.logits) {
      const double change =
          static_cast<double>(pipeline.output(logit.output)[logit.index]) - logit.value;
      squares += change * change;
    }
    logits += reference.logits.size();
    against_fp32.push_back({pooled(reference.detections, kSureScore), pooled(*boxes, 0)});
    if (!set_.labelled || extent != Extent::kAll) continue;
    of_fp32.push_back({reference.truth, reference.detections});
    against_labels.push_back({reference.truth, std::move(*boxes)});
  }
  if (!seconds.empty()) result.seconds = median(std::move(seconds));
  result.agreement = 100 * evaluate_accuracy(against_fp32).map50_95;
  result.dlogit =
      logits == 0 ? 100 - result.agreement : std::sqrt(squares / static_cast<double>(logits));
  if (!against_labels.empty()) {
    const Accuracy accuracy = evaluate_accuracy(against_labels);
    result.map50 = 100 * accuracy.map50;
    result.map50_95 = 100 * accuracy.map50_95;
    result.loss = fp32_.map50_95 - result.map50_95;
    result.half_width = 100 * map_difference_half_width(of_fp32, against_labels);
  }
  return result;
}

}  // namespace fovea
