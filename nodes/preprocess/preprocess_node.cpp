// Camera images in, network inputs out: `<camera>/image` -> `<camera>/tensor` for every camera,
// each in one pass from the camera's slot into a slot of our own.
#include <memory>
#include <optional>
#include <string>

#include "msgs/model_info.hpp"
#include "nodes/preprocess/letterbox_stage.hpp"
#include "nodes/preprocess/preprocess_parameters.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/stages/stage_node.hpp"

namespace fovea {
namespace {

class PreprocessNode final : public StageNode<msgs::Image, msgs::Tensor> {
 public:
  PreprocessNode()
      : StageNode("preprocess", "Scales camera images into the detector's input",
                  {.input = "image",
                   .output = "tensor",
                   .latencies = {{"preprocess_us"}},
                   .reads_when_ready = true}) {}

  void declare_stage_parameters(ParameterSet& p) override {
    p.add("detector", &detector_, "Node whose model_info gives the network's input")
        .checked_by([](std::string_view name) { return check_name("detector", name); });
    p.add("width", &width_, "Network input width; 0 = the detector's",
          Range{0, Letterbox::kMaxSide}, "px");
    p.add("height", &height_, "Network input height; 0 = the detector's",
          Range{0, Letterbox::kMaxSide}, "px");
    parameters_.declare(p);
  }

  Result<> check_parameters() const override {
    if ((width_ == 0) != (height_ == 0)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("width is {} and height is {}; give both or neither", width_, height_));
    }
    return {};
  }

  Result<> configure() override {
    auto configured = std::make_unique<Configured>();
    if (width_ == 0) {
      FOVEA_ASSIGN(auto info, Subscription<msgs::ModelInfo>::create(
                                  domain(), detector_ + "/model_info",
                                  {.durability = Durability::kTransientLocal}));
      configured->model_info.emplace(std::move(info));
    }
    configured_ = std::move(configured);
    return {};
  }

  Result<std::unique_ptr<Stage>> make_stage(const std::string& /*camera*/) override {
    return std::make_unique<LetterboxStage>(configured_->letterbox);
  }

  Result<> activate() override {
    if (!configured_->model_info) {
      return set_input(width_, height_, {});
    }
    if (configured_->letterbox) {  // of the last time: the detector does not say it again
      FOVEA_TRY(stages().set_ready());
    } else {
      set_status(msgs::DiagnosticLevel::kWarn, fmt::format("waiting for {}/model_info", detector_));
    }
    configured_->registration =
        spin(*configured_->model_info, [this](Received<msgs::ModelInfo>&& info) {
          if (auto set = set_input(info.message.network_width, info.message.network_height,
                                   info.message.input);
              !set) {
            log_error("{}/model_info: {}", detector_, set.error().message);
            set_status(msgs::DiagnosticLevel::kError, set.error().message);
          }
        });
    return {};
  }

  void deactivate() override { executor().remove(std::exchange(configured_->registration, 0)); }

  void cleanup() override { configured_.reset(); }

 private:
  struct Configured {
    std::optional<Subscription<msgs::ModelInfo>> model_info;  // unless parameters give the size
    std::optional<Letterbox> letterbox;                       // once the input is known
    Executor::Id registration = 0;
  };

  Result<> set_input(std::uint32_t width, std::uint32_t height, const InputSpec& input) {
    if (const std::string problem = problem_of(input); !problem.empty()) {
      return fail(ErrorCode::kInvalidArgument, problem);
    }
    FOVEA_ASSIGN(auto letterbox,
                 Letterbox::create({.network_width = width,
                                    .network_height = height,
                                    .resize = parameters_.resize.value_or(input.resize),
                                    .pad = parameters_.border(input.border)}));
    configured_->letterbox.emplace(std::move(letterbox));
    FOVEA_TRY(stages().set_ready());
    log_info("network input: {}", configured_->letterbox->parameters());
    set_status(msgs::DiagnosticLevel::kOk, "");
    return {};
  }

  std::string detector_ = "detector";
  std::uint32_t width_ = 0;
  std::uint32_t height_ = 0;
  PreprocessParameters parameters_;

  std::unique_ptr<Configured> configured_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<PreprocessNode>(); }

}  // namespace fovea
