// Decoder and suppression of one model in one object, from raw maps to what was found, in source
// pixels. The live node, `fovea predict` and `fovea engine verify` call this same class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "msgs/classification.hpp"
#include "msgs/depth_map.hpp"
#include "msgs/detection.hpp"
#include "msgs/instance_mask.hpp"
#include "msgs/keypoints.hpp"
#include "msgs/model_info.hpp"
#include "msgs/oriented_box.hpp"
#include "msgs/semantic_map.hpp"
#include "msgs/tensor.hpp"
#include "nodes/base/result.hpp"
#include "nodes/postprocess/decoder.hpp"
#include "nodes/postprocess/instance_masks.hpp"
#include "nodes/postprocess/nms.hpp"
#include "nodes/postprocess/options.hpp"
#include "nodes/postprocess/semantic_labels.hpp"
#include "nodes/postprocess/turned_box.hpp"

namespace fovea {

// Thread safety: one thread at a time. `run` allocates nothing after set_options, except for
// errors.
class Postprocessor {
 public:
  // Errors: kInvalidArgument for a model or options that make no sense.
  static Result<Postprocessor> create(const msgs::ModelInfo& model,
                                      const PostprocessOptions& options = {},
                                      bool force_scalar = false);

  // Takes effect with the next run. Errors: kInvalidArgument, and the former options stay.
  Result<> set_options(const PostprocessOptions& options);
  // What the model finds. Only tasks that find objects give detections.
  Task task() const { return task_; }

  // As they are applied: where the model's boxes need no suppression, every class of an anchor is an
  // object and no overlap is too large.
  const PostprocessOptions& options() const { return options_; }

  // Replaces source size and detections of `out`, best first; leaves its header alone. Boxes are
  // clipped to the source image; those that lie wholly in the padding are left out before anything
  // is counted or suppressed. Of turned boxes: the upright ones around them. A detection whose mask has
  // not a pixel is left out. Errors: kInvalidArgument if a tensor or the transform does not fit
  // the model; kCorrupt if nothing in the tensors is a finite number.
  Result<> run(std::span<const HeadTensor> tensors, const msgs::LetterboxTransform& transform,
               msgs::Detection2DArray& out);

  // The same for a message whose payload is `slot`; copies the header to `out`. Any message is
  // safe. Errors: also for another model's id or a tensor outside `slot`.
  Result<> run(const msgs::TensorArray& message, std::span<const std::byte> slot,
               msgs::Detection2DArray& out);

  // What the last run found beside boxes, in the order of its detections; all but the header. Valid
  // while the run's tensors are. REQUIRES: the task is kSegment, kPose, kObb, kClassify, kSemantic,
  // kDepth.
  // The last masks that a message has no room for are left out of it.
  void masks(msgs::InstanceMask2DArray& out) const;
  // The runs of one of them, whatever the others have: as msgs::InstanceMask2D.
  std::span<const std::uint32_t> mask_runs(std::size_t detection) const {
    return std::span(runs_).subspan(found_[detection].first_run, found_[detection].run_count);
  }
  void keypoints(msgs::KeypointDetection2DArray& out) const;
  void oriented_boxes(msgs::OrientedDetection2DArray& out) const;
  void classification(msgs::Classification& out) const;
  // The last rows that a message has no room for are left out of it.
  void semantic_map(msgs::SemanticMap& out) const;
  void depth(msgs::DepthMap& out) const;
  // As semantic_map(), without its limit. REQUIRES: the task is kSemantic.
  const SemanticLabels& labels() const { return labels_; }
  // Of the last run of a task without objects: a classifier's best class, or that of most pixels.
  std::optional<std::uint32_t> best_class() const {
    if (task_ == Task::kSemantic) return labels_.greatest();
    if (task_ != Task::kClassify || candidates_.empty()) return std::nullopt;
    return candidates_.front().class_id;
  }

  // What in the last run's tensors was NaN or infinite and therefore left out.
  const NotFinite& not_finite() const { return not_finite_; }
  // Of the last run: detections whose masks have no room in a message.
  std::uint32_t masks_without_room() const { return masks_without_room_; }

 private:
  Postprocessor(std::unique_ptr<Decoder> decoder, bool force_scalar);

  // What stays of a run's candidates, and how it looks in the source picture.
  struct Found {
    std::uint32_t candidate;
    msgs::BoundingBox2D bbox;
    std::uint32_t first_run = 0;
    std::uint32_t run_count = 0;
  };

  static constexpr std::size_t kMostRuns = std::size_t{1} << 24;  // 64 MiB

  std::span<const std::uint32_t> suppress();
  // What the decoder says about every pixel. Errors: a picture too large for a map.
  Result<> draw_map();
  // Draws the masks of found_, and takes those without a pixel out of it.
  void draw_masks();
  msgs::ObjectHypothesis hypothesis_of(const Found& found) const;
  const msgs::ClassName& class_name_of(const Found& found) const;

  std::unique_ptr<Decoder> decoder_;
  NonMaximumSuppression suppression_;
  TurnedSuppression turned_suppression_;
  InstanceMasks instance_masks_;
  SemanticLabels labels_;
  Task task_ = Task::kDetect;
  PostprocessOptions options_;
  bool one_to_one_ = false;  // Suppression::kNone
  std::uint64_t model_id_ = 0;
  std::uint32_t network_width_ = 0;
  std::uint32_t network_height_ = 0;
  std::vector<msgs::ClassName> class_names_;

  // Of the last run.
  std::vector<Candidate> candidates_;
  std::vector<TurnedSuppression::Box> turned_boxes_;  // by candidate
  std::vector<Found> found_;
  std::vector<std::uint32_t> runs_;  // grows as masks need it, up to kMostRuns
  std::size_t run_count_ = 0;
  msgs::LetterboxTransform transform_;
  NotFinite not_finite_;
  std::uint32_t masks_without_room_ = 0;
};

}  // namespace fovea
