// Measures an engine against f32 on sample pictures: what the accuracy guard's search calls.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nodes/detector/accuracy/accuracy_guard.hpp"
#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/detector/accuracy/labelled_set.hpp"
#include "nodes/detector/accuracy/task_accuracy.hpp"

namespace fovea {

// Pictures in `folder`/images or, unlabelled, in `folder` itself. Labelled if there is a
// classes.txt; for a classifier, if there are folders with pictures. Errors: kNotFound for no
// picture, read_labelled_set()'s.
struct SampleSet {
  bool labelled = false;
  std::vector<std::string> classes;       // labelled
  std::vector<LabelledPicture> pictures;  // by name
};
Result<SampleSet> read_sample_set(const std::filesystem::path& folder,
                                  const LabelFormat& format = {});

// SHA-256, hex, over the pictures' bytes and labels. Errors: kNotFound.
Result<std::string> hash_of(const SampleSet& set);

// Thread safety: one thread at a time.
class AccuracyMeter {
 public:
  // Runs `fp32` over all pictures. Errors: kInvalidArgument if the set's classes are not the
  // model's; the engine's and the reader's, naming the picture.
  static Result<AccuracyMeter> create(std::shared_ptr<const engine::Engine> fp32, SampleSet set,
                                      PictureReader reader, const engine::Progress& progress = {});

  // Of the same network. `advance` is called with the part that is done. Errors: the engine's and
  // the reader's.
  Result<Measurement> measure(std::shared_ptr<const engine::Engine> candidate, Extent extent,
                              const std::function<void(double done)>& advance = {}) const;

  Task task() const { return task_; }
  bool labelled() const { return set_.labelled; }
  std::size_t pictures() const { return set_.pictures.size(); }
  const Measurement& fp32() const { return fp32_; }
  // What f32 gives that a candidate could lose: detections of score >= 0.25 or classified pictures,
  // of a labelled set those that are right to some degree (a score above 0). Without any, every
  // candidate is as good as another.
  std::size_t findings() const { return findings_; }

 private:
  // A class logit that counts for dlogit, or the logarithm of a classifier's probability.
  struct Logit {
    std::uint32_t output;
    std::uint32_t index;
    float value;
  };
  // Keypoints, angles or mask coefficients of the anchors whose class logits count.
  struct Details {
    std::vector<Logit> values;  // whole anchors, one after the other
    std::size_t channels = 0;
  };
  struct Reference {
    Answer truth;  // labelled; pixels
    Answer sure;   // of f32, pooled(): what a candidate should find again
    std::vector<Logit> logits;
    Details details;
  };

  AccuracyMeter() = default;
  static void read_logits(const DetectionPipeline& pipeline, Reference& reference);
  static std::vector<Logit> probabilities_of(const DetectionPipeline& pipeline);

  Task task_ = Task::kDetect;
  SampleSet set_;
  PictureReader reader_;
  // Of all references: what makes details as wide as class logits are; 0 without any.
  double detail_scale() const;

  std::vector<Reference> references_;
  double detail_scale_ = 0;
  std::optional<TaskAccuracy> fp32_accuracy_;  // labelled; after create()
  Measurement fp32_;
  std::size_t findings_ = 0;
};

}  // namespace fovea
