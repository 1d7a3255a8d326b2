// Checks of a whole message, and the way back from network to source pixels.
#include "nodes/postprocess/postprocessor.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace fovea {
namespace {

// Clipped to the source image; empty if the box lies wholly in the padding.
msgs::BoundingBox2D to_source(const Candidate& box, const msgs::LetterboxTransform& transform) {
  const auto width = static_cast<float>(transform.source_width);
  const auto height = static_cast<float>(transform.source_height);
  const float x1 = std::clamp(transform.source_x(box.x1), 0.0f, width);
  const float y1 = std::clamp(transform.source_y(box.y1), 0.0f, height);
  const float x2 = std::clamp(transform.source_x(box.x2), 0.0f, width);
  const float y2 = std::clamp(transform.source_y(box.y2), 0.0f, height);
  return {
      .center_x = (x1 + x2) / 2, .center_y = (y1 + y2) / 2, .size_x = x2 - x1, .size_y = y2 - y1};
}

}  // namespace

Postprocessor::Postprocessor(YoloDecoder decoder, bool force_scalar)
    : decoder_(std::move(decoder)), suppression_(force_scalar) {}

Result<Postprocessor> Postprocessor::create(const msgs::ModelInfo& model,
                                            const PostprocessOptions& options, bool force_scalar) {
  FOVEA_ASSIGN(YoloDecoder decoder, YoloDecoder::create(model, force_scalar));
  Postprocessor postprocessor(std::move(decoder), force_scalar);
  postprocessor.model_id_ = model.model_id;
  for (const auto& name : model.class_names) postprocessor.class_names_.emplace_back(name.view());
  FOVEA_TRY(postprocessor.set_options(options));
  return postprocessor;
}

Result<> Postprocessor::set_options(const PostprocessOptions& options) {
  FOVEA_TRY(decoder_.set_options(options));
  options_ = options;
  candidates_.reserve(options.max_candidates);
  suppression_.reserve(options.max_candidates);
  return {};
}

Result<> Postprocessor::run(std::span<const HeadTensor> tensors,
                            const msgs::LetterboxTransform& transform,
                            msgs::Detection2DArray& out) {
  if (!transform.valid() || transform.network_width != decoder_.network_width() ||
      transform.network_height != decoder_.network_height()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("letterbox is {}x{} at ({}, {}) in {}x{}; the model's input is {}x{}",
                            transform.new_width, transform.new_height, transform.pad_left,
                            transform.pad_top, transform.network_width, transform.network_height,
                            decoder_.network_width(), decoder_.network_height()));
  }
  FOVEA_TRY(decoder_.decode(tensors, candidates_));

  out.source_width = transform.source_width;
  out.source_height = transform.source_height;
  out.detections.clear();
  for (const std::uint32_t number : suppression_.run(candidates_, options_)) {
    const Candidate& candidate = candidates_[number];
    const msgs::BoundingBox2D bbox = to_source(candidate, transform);
    if (bbox.size_x <= 0 || bbox.size_y <= 0) continue;
    out.detections.push_back(
        {.bbox = bbox,
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
