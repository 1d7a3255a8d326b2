// Checks of a whole message, and the way back from network to source pixels.
#include "nodes/postprocess/postprocessor.hpp"

#include <array>
#include <utility>

#include <fmt/core.h>

#include "nodes/postprocess/source_box.hpp"

namespace fovea {

Postprocessor::Postprocessor(std::unique_ptr<Decoder> decoder, bool force_scalar)
    : decoder_(std::move(decoder)), suppression_(force_scalar) {}

Result<Postprocessor> Postprocessor::create(const msgs::ModelInfo& model,
                                            const PostprocessOptions& options, bool force_scalar) {
  FOVEA_ASSIGN(auto decoder, create_decoder(model, force_scalar));
  Postprocessor postprocessor(std::move(decoder), force_scalar);
  postprocessor.model_id_ = model.model_id;
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
  return {};
}

Result<> Postprocessor::run(std::span<const HeadTensor> tensors,
                            const msgs::LetterboxTransform& transform,
                            msgs::Detection2DArray& out) {
  if (!transform.valid() || transform.network_width != network_width_ ||
      transform.network_height != network_height_) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("letterbox is {}x{} at ({}, {}) in {}x{}; the model's input is {}x{}",
                            transform.new_width, transform.new_height, transform.pad_left,
                            transform.pad_top, transform.network_width, transform.network_height,
                            network_width_, network_height_));
  }
  FOVEA_TRY(decoder_->decode(tensors, candidates_, &transform));
  const NotFinite& broken = decoder_->not_finite();
  if (broken.scores == decoder_->anchor_count() || (candidates_.empty() && broken.boxes > 0)) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("the model's outputs are not finite: NaN or infinity in the scores of "
                            "{} of {} anchors and in {} boxes",
                            broken.scores, decoder_->anchor_count(), broken.boxes));
  }

  out.source_width = transform.source_width;
  out.source_height = transform.source_height;
  out.detections.clear();
  for (const std::uint32_t number : suppression_.run(candidates_, options_)) {
    const Candidate& candidate = candidates_[number];
    out.detections.push_back(
        {.bbox = to_source(candidate.x1, candidate.y1, candidate.x2, candidate.y2, transform),
         .hypothesis = {.class_id = candidate.class_id, .score = candidate.score},
         .class_name = class_names_[candidate.class_id]});
  }
  return {};
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
