// Decoder and suppression of one model in one object, from raw maps to detections in source pixels.
// The live node and `fovea engine verify` call this same class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "msgs/detection.hpp"
#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/base/result.hpp"
#include "nodes/postprocess/decoder.hpp"
#include "nodes/postprocess/nms.hpp"
#include "nodes/postprocess/options.hpp"

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
  // As they are applied: where the model's boxes need no suppression, every class of an anchor is an
  // object and no overlap is too large.
  const PostprocessOptions& options() const { return options_; }

  // Replaces source size and detections of `out`, best first; leaves its header alone. Boxes are
  // clipped to the source image; those that lie wholly in the padding are left out before anything
  // is counted or suppressed. Errors: kInvalidArgument if a tensor or the transform does not fit
  // the model; kCorrupt if nothing in the tensors is a finite number.
  Result<> run(std::span<const HeadTensor> tensors, const msgs::LetterboxTransform& transform,
               msgs::Detection2DArray& out);

  // The same for a message whose payload is `slot`; copies the header to `out`. Any message is
  // safe. Errors: also for another model's id or a tensor outside `slot`.
  Result<> run(const msgs::TensorArray& message, std::span<const std::byte> slot,
               msgs::Detection2DArray& out);

  // What in the last run's tensors was NaN or infinite and therefore left out.
  const NotFinite& not_finite() const { return decoder_->not_finite(); }

 private:
  Postprocessor(std::unique_ptr<Decoder> decoder, bool force_scalar);

  std::unique_ptr<Decoder> decoder_;
  NonMaximumSuppression suppression_;
  PostprocessOptions options_;
  bool one_to_one_ = false;  // Suppression::kNone
  std::uint64_t model_id_ = 0;
  std::uint32_t network_width_ = 0;
  std::uint32_t network_height_ = 0;
  std::vector<msgs::ClassName> class_names_;
  std::vector<Candidate> candidates_;
};

}  // namespace fovea
