// Camera images in, network inputs out: `<camera>/image` -> `<camera>/tensor` for every camera,
// each in one pass from the camera's slot into a slot of our own.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgs/image.hpp"
#include "msgs/model_info.hpp"
#include "msgs/tensor.hpp"
#include "nodes/preprocess/letterbox.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/node.hpp"
#include "nodes/runtime/reliability.hpp"

namespace fovea {
namespace {

class PreprocessNode final : public Node {
 public:
  PreprocessNode() : Node("preprocess", "Letterboxes camera images into the detector's input") {}

  void declare_parameters(ParameterSet& p) override {
    p.add("cameras", &cameras_, "Names of the cameras to serve").required();
    p.add("detector", &detector_, "Node whose model_info gives the network's input size");
    p.add("width", &width_, "Network input width; 0 = the detector's",
          Range{0, Letterbox::kMaxSide}, "px");
    p.add("height", &height_, "Network input height; 0 = the detector's",
          Range{0, Letterbox::kMaxSide}, "px");
    p.add("pad", &pad_, "Value of the border around the image", Range{0, 255});
    p.add("slots", &slots_, "Shared-memory slots per camera", Range{2, 64});
    add_reliability(p, &reliability_);
  }

  Result<> on_configure() override {
    if ((width_ == 0) != (height_ == 0)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("width is {} and height is {}; give both or neither", width_, height_));
    }
    for (const std::string& camera : cameras_) {
      FOVEA_TRY(check_name("camera", camera));
      auto stream = std::make_unique<Stream>(metrics(), camera);
      FOVEA_ASSIGN(auto tensors,
                   Publisher<msgs::Tensor>::create(
                       domain(), camera + "/tensor", {.reliability = to_reliability(reliability_)},
                       {.slot_count = static_cast<std::uint32_t>(slots_)}, &stream->ledger));
      stream->tensors.emplace(std::move(tensors));
      streams_.push_back(std::move(stream));
    }
    if (width_ == 0) {
      FOVEA_ASSIGN(auto info, Subscription<msgs::ModelInfo>::create(
                                  domain(), detector_ + "/model_info",
                                  {.durability = Durability::kTransientLocal}));
      model_info_.emplace(std::move(info));
    }
    return {};
  }

  Result<> on_activate() override {
    if (!model_info_) {
      return set_network_size(static_cast<std::uint32_t>(width_),
                              static_cast<std::uint32_t>(height_));
    }
    set_status(msgs::DiagnosticLevel::kWarn, fmt::format("waiting for {}/model_info", detector_));
    registrations_.push_back(spin(*model_info_, [this](Received<msgs::ModelInfo>&& info) {
      if (auto sized = set_network_size(info.message.network_width, info.message.network_height);
          !sized) {
        log_error("{}/model_info: {}", detector_, sized.error().message);
        set_status(msgs::DiagnosticLevel::kError, sized.error().message);
      }
    }));
    return {};
  }

  Result<> on_deactivate() override {
    for (Executor::Id id : registrations_) executor().remove(id);
    registrations_.clear();
    for (auto& stream : streams_) {  // what already arrived still leaves
      if (!stream->images) continue;
      stream->images->drain();
      while (auto image = stream->images->take()) process(*stream, *image);
      stream->images.reset();
    }
    return {};
  }

  Result<> on_cleanup() override {
    streams_.clear();
    model_info_.reset();
    letterbox_.reset();
    return {};
  }

 private:
  struct Stream {
    Stream(MetricsPage& page, const std::string& name)
        : camera(name),
          ledger(page, name),
          bytes_written(page.counter("bytes_written", name)),
          latency_us(page.histogram("preprocess_us", name)) {}

    std::string camera;
    StageLedger ledger;
    Counter& bytes_written;
    Histogram& latency_us;  // from capture to here
    std::optional<Publisher<msgs::Tensor>> tensors;
    std::optional<Subscription<msgs::Image>> images;
    bool awaited_reader = false;
    std::string last_error;  // so that a camera's lasting fault is logged once
  };

  // Images are subscribed to only once the network's size is known, so that none is taken in vain.
  Result<> set_network_size(std::uint32_t width, std::uint32_t height) {
    FOVEA_ASSIGN(auto letterbox, Letterbox::create({.network_width = width,
                                                    .network_height = height,
                                                    .pad = static_cast<std::uint8_t>(pad_)}));
    letterbox_.emplace(std::move(letterbox));
    for (auto& stream : streams_) {
      if (stream->images) continue;
      FOVEA_ASSIGN(auto images,
                   Subscription<msgs::Image>::create(domain(), stream->camera + "/image",
                                                     {.reliability = to_reliability(reliability_)},
                                                     &stream->ledger));
      stream->images.emplace(std::move(images));
      registrations_.push_back(
          spin(*stream->images,
               [this, s = stream.get()](Received<msgs::Image>&& image) { process(*s, image); }));
    }
    log_info("network input {}x{}", width, height);
    set_status(msgs::DiagnosticLevel::kOk, "");
    return {};
  }

  void process(Stream& stream, Received<msgs::Image>& image) {
    if (reliability_ == "reliable" && !std::exchange(stream.awaited_reader, true)) {
      wait_for_subscription(*stream.tensors, kReaderTimeout, [] { return false; });
    }
    const std::int64_t started = monotonic_ns();
    auto slot = stream.tensors->loan(letterbox_->output_bytes());
    if (!slot) return;  // the publisher has counted it
    const auto transform = letterbox_->run({.pixels = image.buffer.data(),
                                            .width = image.message.width,
                                            .height = image.message.height,
                                            .step = image.message.step,
                                            .encoding = image.message.encoding},
                                           slot->data());
    if (!transform) {
      stream.ledger.drop(DropReason::kError);
      if (std::exchange(stream.last_error, transform.error().message) !=
          transform.error().message) {
        log_warning("{}/image: frame {} refused: {}", stream.camera, image.message.header.seq,
                    transform.error().message);
      }
      return;
    }
    image.buffer = {};  // the camera may have its slot back
    stream.bytes_written += letterbox_->output_bytes();

    msgs::Tensor tensor;
    tensor.header = image.message.header;
    tensor.header.stages.preprocess_started = started;
    tensor.header.stages.preprocessed = monotonic_ns();
    tensor.dtype = msgs::DataType::kUint8;
    tensor.rank = 3;
    tensor.dims = {transform->network_height, transform->network_width, 3};
    tensor.letterbox = *transform;
    stream.latency_us.record(static_cast<std::uint64_t>(
        std::max<std::int64_t>(tensor.header.stages.preprocessed - tensor.header.stages.captured,
                               0) /
        1000));
    stream.tensors->publish(tensor, std::move(*slot), letterbox_->output_bytes());
  }

  std::vector<std::string> cameras_;
  std::string detector_ = "detector";
  std::int64_t width_ = 0;
  std::int64_t height_ = 0;
  std::int64_t pad_ = 114;
  std::int64_t slots_ = 4;
  std::string reliability_ = "best_effort";

  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Executor::Id> registrations_;
  std::optional<Subscription<msgs::ModelInfo>> model_info_;
  std::optional<Letterbox> letterbox_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<PreprocessNode>(); }

}  // namespace fovea
