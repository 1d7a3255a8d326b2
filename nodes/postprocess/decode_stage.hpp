// Decoder and suppression as a stage: raw head maps in, detections out.
#pragma once

#include <optional>

#include <fmt/format.h>

#include "msgs/detection.hpp"
#include "msgs/tensor.hpp"
#include "nodes/base/stage.hpp"
#include "nodes/postprocess/postprocessor.hpp"

namespace fovea {

class DecodeStage : public Stage<msgs::TensorArray, msgs::Detection2DArray> {
 public:
  // `postprocessor` may be shared by the stages of one thread and made anew between frames. It has no
  // value while the model is not known; frames are refused meanwhile. REQUIRES: it outlives the
  // stage.
  explicit DecodeStage(std::optional<Postprocessor>& postprocessor)
      : postprocessor_(postprocessor) {}

  Result<> process(const StageIn<msgs::TensorArray>& in,
                   StageOut<msgs::Detection2DArray>& out) override {
    if (!postprocessor_) {
      return fail(ErrorCode::kUnavailable, "the detector's model_info is not here yet");
    }
    FOVEA_TRY(postprocessor_->run(in.message, in.payload, out.message));
    if (const NotFinite& broken = postprocessor_->not_finite(); broken.any()) {
      out.warning = fmt::format(
          "the model gives NaN or infinity as scores of {} anchors, for {} boxes and in {} masks, "
          "which are left out",
          broken.scores, broken.boxes, broken.masks);
    }
    return {};
  }

 private:
  std::optional<Postprocessor>& postprocessor_;
};

}  // namespace fovea
