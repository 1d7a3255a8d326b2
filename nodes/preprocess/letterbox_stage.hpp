// The letterbox as a stage: one image in, the network's input out.
#pragma once

#include <optional>

#include "msgs/image.hpp"
#include "msgs/tensor.hpp"
#include "nodes/base/stage.hpp"
#include "nodes/preprocess/letterbox.hpp"

namespace fovea {

class LetterboxStage final : public Stage<msgs::Image, msgs::Tensor> {
 public:
  // `letterbox` may be shared by the stages of one thread and made anew between frames. REQUIRES: it
  // outlives the stage and has a value whenever a frame comes.
  explicit LetterboxStage(std::optional<Letterbox>& letterbox) : letterbox_(letterbox) {}

  std::size_t payload_bytes(const msgs::Image& /*image*/) const override {
    return letterbox_->output_bytes();
  }

  Result<> process(const StageIn<msgs::Image>& in, StageOut<msgs::Tensor>& out) override {
    FOVEA_ASSIGN(const msgs::LetterboxTransform transform,
                 letterbox_->run({.pixels = in.payload,
                                  .width = in.message.width,
                                  .height = in.message.height,
                                  .step = in.message.step,
                                  .encoding = in.message.encoding},
                                 out.payload));
    out.message.dtype = msgs::DataType::kUint8;
    out.message.rank = 3;
    out.message.dims = {transform.network_height, transform.network_width, 3};
    out.message.letterbox = transform;
    return {};
  }

 private:
  std::optional<Letterbox>& letterbox_;
};

}  // namespace fovea
