// Checks of a whole message, and the way back from network to source pixels.
#include "nodes/postprocess/postprocessor.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include <fmt/core.h>

#include "nodes/postprocess/depth_values.hpp"
#include "nodes/postprocess/source_box.hpp"

namespace fovea {

Postprocessor::Postprocessor(std::unique_ptr<Decoder> decoder, bool force_scalar)
    : decoder_(std::move(decoder)),
      suppression_(force_scalar),
      instance_masks_(force_scalar),
      labels_(force_scalar) {
  found_.reserve(msgs::Detection2DArray::kMaxDetections);
}

Result<Postprocessor> Postprocessor::create(const msgs::ModelInfo& model,
                                            const PostprocessOptions& options, bool force_scalar) {
  FOVEA_ASSIGN(auto decoder, create_decoder(model, force_scalar));
  Postprocessor postprocessor(std::move(decoder), force_scalar);
  postprocessor.model_id_ = model.model_id;
  postprocessor.task_ = model.head.task();
  postprocessor.one_to_one_ = model.head.suppression == Suppression::kNone;
  postprocessor.network_width_ = model.network_width;
  postprocessor.network_height_ = model.network_height;
  postprocessor.class_names_.assign(model.class_names.begin(), model.class_names.end());
  FOVEA_TRY(postprocessor.set_options(options));
  return postprocessor;
}

Result<> Postprocessor::set_options(const PostprocessOptions& options) {
  PostprocessOptions applied = options;
  if (one_to_one_) {
    applied.multi_label = true;
    applied.iou_threshold = 1;  // which no overlap exceeds
  }
  FOVEA_TRY(decoder_->set_options(applied));
  options_ = std::move(applied);
  candidates_.reserve(options.max_candidates);
  suppression_.reserve(options.max_candidates);
  if (task_ == Task::kObb) {
    turned_suppression_.reserve(options.max_candidates);
    turned_boxes_.reserve(options.max_candidates);
  }
  if (task_ == Task::kSegment) runs_.resize(msgs::InstanceMask2DArray::kMaxRuns);
  return {};
}

Result<> Postprocessor::run(std::span<const HeadTensor> tensors,
                            const msgs::LetterboxTransform& transform,
                            msgs::Detection2DArray& out) {
  candidates_.clear();
  found_.clear();
  run_count_ = 0;
  masks_without_room_ = 0;
  if (!transform.valid() || transform.network_width != network_width_ ||
      transform.network_height != network_height_) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("letterbox is {}x{} at ({}, {}) in {}x{}; the model's input is {}x{}",
                            transform.new_width, transform.new_height, transform.pad_left,
                            transform.pad_top, transform.network_width, transform.network_height,
                            network_width_, network_height_));
  }
  transform_ = transform;
  FOVEA_TRY(decoder_->decode(tensors, candidates_, &transform));
  not_finite_ = decoder_->not_finite();
  if (not_finite_.scores == decoder_->anchor_count() ||
      (candidates_.empty() && not_finite_.boxes > 0)) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("the model's outputs are not finite: NaN or infinity in the scores of "
                            "{} of {} anchors and in {} boxes",
                            not_finite_.scores, decoder_->anchor_count(), not_finite_.boxes));
  }

  out.source_width = transform.source_width;
  out.source_height = transform.source_height;
  out.detections.clear();
  if (!finds_objects(task_)) return draw_map();
  for (const std::uint32_t number : suppress()) {
    const Candidate& box = candidates_[number];
    found_.push_back({number, to_source(box.x1, box.y1, box.x2, box.y2, transform)});
  }
  if (task_ == Task::kSegment) draw_masks();
  for (const Found& found : found_) {
    out.detections.push_back({.bbox = found.bbox,
                              .hypothesis = hypothesis_of(found),
                              .class_name = class_name_of(found)});
  }
  return {};
}

Result<> Postprocessor::draw_map() {
  const DenseMap* map = decoder_->dense_map();
  if (task_ != Task::kSemantic) return {};
  constexpr std::uint32_t kMaxSide = SemanticLabels::kMaxSide;
  if (transform_.new_width > kMaxSide || transform_.new_height > kMaxSide) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the picture is scaled to {}x{}; a map has sides of at most {}",
                            transform_.new_width, transform_.new_height, kMaxSide));
  }
  labels_.draw(*map, transform_);
  return {};
}

std::span<const std::uint32_t> Postprocessor::suppress() {
  if (task_ != Task::kObb) return suppression_.run(candidates_, options_);
  turned_boxes_.clear();
  for (const Candidate& candidate : candidates_) {
    turned_boxes_.push_back(
        {decoder_->turned_box_of(candidate.anchor), candidate.score, candidate.class_id});
  }
  return turned_suppression_.run(turned_boxes_, options_);
}

void Postprocessor::draw_masks() {
  using Outcome = InstanceMasks::Outcome;
  const AnchorDetails& details = *decoder_->details();
  const auto has_none = [&](Found& found) {
    const msgs::BoundingBox2D& box = found.bbox;
    const auto coefficients = details.coefficients_of(candidates_[found.candidate].anchor);
    const auto write = [&](std::size_t& count) {
      return instance_masks_.write(details.prototypes(), coefficients,
                                   {box.center_x - box.size_x / 2, box.center_y - box.size_y / 2,
                                    box.center_x + box.size_x / 2, box.center_y + box.size_y / 2},
                                   transform_, std::span(runs_).subspan(run_count_), count);
    };
    std::size_t count = 0;
    Outcome outcome = write(count);
    while (outcome == Outcome::kNoRoom && runs_.size() < kMostRuns) {
      runs_.resize(2 * runs_.size());
      outcome = write(count);
    }
    found.first_run = static_cast<std::uint32_t>(run_count_);
    found.run_count = static_cast<std::uint32_t>(count);
    run_count_ += count;
    if (outcome == Outcome::kNotFinite) ++not_finite_.masks;
    if (outcome == Outcome::kNoRoom || run_count_ > msgs::InstanceMask2DArray::kMaxRuns) {
      ++masks_without_room_;
    }
    return outcome == Outcome::kEmpty || outcome == Outcome::kNotFinite;
  };
  // In their order, so that the best ones have room.
  found_.erase(std::remove_if(found_.begin(), found_.end(), has_none), found_.end());
}

msgs::ObjectHypothesis Postprocessor::hypothesis_of(const Found& found) const {
  const Candidate& candidate = candidates_[found.candidate];
  return {.class_id = candidate.class_id, .score = candidate.score};
}

const msgs::ClassName& Postprocessor::class_name_of(const Found& found) const {
  return class_names_[candidates_[found.candidate].class_id];
}

void Postprocessor::masks(msgs::InstanceMask2DArray& out) const {
  out.source_width = transform_.source_width;
  out.source_height = transform_.source_height;
  out.truncated = masks_without_room_;
  out.instances.clear();
  out.runs.clear();
  for (std::size_t i = 0; i < found_.size(); ++i) {
    const auto runs = mask_runs(i);
    const bool has_room = found_[i].first_run + runs.size() <= out.runs.items.size();
    out.instances.push_back({.bbox = found_[i].bbox,
                             .hypothesis = hypothesis_of(found_[i]),
                             .class_name = class_name_of(found_[i]),
                             .first_run = out.runs.count,
                             .run_count = has_room ? found_[i].run_count : 0});
    if (!has_room) continue;
    std::copy(runs.begin(), runs.end(), out.runs.end());
    out.runs.count += found_[i].run_count;
  }
}

void Postprocessor::keypoints(msgs::KeypointDetection2DArray& out) const {
  out.source_width = transform_.source_width;
  out.source_height = transform_.source_height;
  out.detections.clear();
  const AnchorDetails& details = *decoder_->details();
  std::array<NetworkPoint, msgs::KeypointDetection2D::kMaxKeypoints> points;
  for (const Found& found : found_) {
    details.points_of(candidates_[found.candidate].anchor, points);
    msgs::KeypointDetection2D detection;
    detection.bbox = found.bbox;
    detection.hypothesis = hypothesis_of(found);
    detection.class_name = class_name_of(found);
    for (const NetworkPoint& point : std::span(points).first(details.point_count())) {
      const msgs::BoundingBox2D place = to_source(point.x, point.y, point.x, point.y, transform_);
      detection.keypoints.push_back({place.center_x, place.center_y, point.visibility});
    }
    out.detections.push_back(detection);
  }
}

void Postprocessor::oriented_boxes(msgs::OrientedDetection2DArray& out) const {
  out.source_width = transform_.source_width;
  out.source_height = transform_.source_height;
  out.detections.clear();
  const auto scale = [](std::uint32_t source, std::uint32_t scaled) {
    return static_cast<float>(source) / static_cast<float>(scaled);
  };
  const float scale_x = scale(transform_.source_width, transform_.new_width);
  const float scale_y = scale(transform_.source_height, transform_.new_height);
  for (const Found& found : found_) {
    const TurnedBox& box = turned_boxes_[found.candidate].box;
    // Half a turn more is the same box.
    const float theta = std::remainder(box.theta, std::numbers::pi_v<float>);
    out.detections.push_back({.bbox = {.center_x = transform_.source_x(box.center_x),
                                       .center_y = transform_.source_y(box.center_y),
                                       .size_x = box.size_x * scale_x,
                                       .size_y = box.size_y * scale_y,
                                       .theta = theta},
                              .hypothesis = hypothesis_of(found),
                              .class_name = class_name_of(found)});
  }
}

void Postprocessor::classification(msgs::Classification& out) const {
  out.source_width = transform_.source_width;
  out.source_height = transform_.source_height;
  out.results.clear();
  for (const Candidate& candidate : candidates_) {
    out.results.push_back({.hypothesis = {.class_id = candidate.class_id, .score = candidate.score},
                           .class_name = class_names_[candidate.class_id]});
  }
}

void Postprocessor::semantic_map(msgs::SemanticMap& out) const {
  labels_.write(out);
  for (msgs::SemanticClass& one : out.classes) one.class_name = class_names_[one.class_id];
}

void Postprocessor::depth(msgs::DepthMap& out) const {
  write_depth(*decoder_->dense_map(), transform_, out);
}

Result<> Postprocessor::run(const msgs::TensorArray& message, std::span<const std::byte> slot,
                            msgs::Detection2DArray& out) {
  if (message.model_id != model_id_) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensors are of model {:016x}; this is model {:016x}", message.model_id,
                            model_id_));
  }
  if (message.tensors.size() > msgs::TensorArray::kMaxTensors) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} tensors; it must be at most {}", message.tensors.size(),
                            msgs::TensorArray::kMaxTensors));
  }
  std::array<HeadTensor, msgs::TensorArray::kMaxTensors> tensors;
  std::size_t count = 0;
  for (const msgs::TensorView& view : message.tensors) {
    if (view.rank > view.dims.size()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tensor {} has rank {}; it must be 0..{}", view.name.view(),
                              view.rank, view.dims.size()));
    }
    if (view.offset > slot.size() || view.bytes > slot.size() - view.offset) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("tensor {} lies at {}+{}; its slot has {} bytes", view.name.view(),
                              view.offset, view.bytes, slot.size()));
    }
    tensors[count++] = {.name = view.name.view(),
                        .dtype = view.dtype,
                        .dims = std::span(view.dims).first(view.rank),
                        .bytes = slot.subspan(view.offset, view.bytes)};
  }
  out.header = message.header;
  return run(std::span(tensors).first(count), message.letterbox, out);
}

}  // namespace fovea
