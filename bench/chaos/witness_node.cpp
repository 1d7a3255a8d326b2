// A spare subscriber of cameras with synthetic scenes that can tell a torn frame: it draws every
// frame once more and compares all pixels, when the frame comes and again when it lets go of it.
//
// A scene's frame i depends on nothing but its seed and i, and within one life of a camera i is the
// frame's number less a constant. The constant is found once per life (the pool's incarnation), by
// trying; from then on each frame has to be exactly the one that its number says.
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgs/image.hpp"
#include "nodes/camera/synthetic_source.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node.hpp"

namespace fovea {
namespace {

class WitnessNode final : public Node {
 public:
  WitnessNode() : Node("witness", "Compares frames of synthetic cameras pixel by pixel") {}

  void declare_parameters(ParameterSet& p) override {
    p.add("cameras", &cameras_, "Names of the cameras; the first has seed 1, the next 2, ...")
        .required();
    p.add("objects", &objects_, "Objects in each scene", Range{1, 64});
    p.add("hold", &hold_, "Most frames held at a time, per camera", Range{1, 16});
    p.add("depth", &depth_, "Most frames that wait, per camera", Range{1, 1000});
  }

  Result<> on_configure() override {
    auto configured = std::make_unique<Configured>();
    for (std::size_t i = 0; i < cameras_.size(); ++i) {
      auto stream = std::make_unique<Stream>(metrics(), cameras_[i], i + 1);
      FOVEA_ASSIGN(auto images,
                   Subscription<msgs::Image>::create(domain(), cameras_[i] + "/image",
                                                     {.depth = depth_}, &stream->ledger));
      stream->images.emplace(std::move(images));
      configured->streams.push_back(std::move(stream));
    }
    configured_ = std::move(configured);
    return {};
  }

  Result<> on_activate() override {
    for (auto& stream : configured_->streams) {
      configured_->registrations.push_back(
          spin(*stream->images,
               [this, s = stream.get()](Received<msgs::Image>&& image) { take(*s, image); }));
    }
    return {};
  }

  Result<> on_deactivate() override {
    for (Executor::Id id : configured_->registrations) executor().remove(id);
    configured_->registrations.clear();
    for (auto& stream : configured_->streams) {
      while (!stream->held.empty()) let_go(*stream);
      stream->images->drain();
      while (auto image = stream->images->take()) take(*stream, *image);
      while (!stream->held.empty()) let_go(*stream);
    }
    return {};
  }

  Result<> on_cleanup() override {
    configured_.reset();
    return {};
  }

 private:
  struct Stream {
    Stream(MetricsPage& page, const std::string& camera, std::uint64_t scene_seed)
        : name(camera),
          seed(scene_seed),
          ledger(page, camera),
          verified(page.counter("verified", camera)),
          torn(page.counter("torn", camera)) {}

    std::string name;
    std::uint64_t seed;
    StageLedger ledger;
    Counter& verified;
    Counter& torn;
    std::optional<Subscription<msgs::Image>> images;
    std::deque<Received<msgs::Image>> held;
    std::unique_ptr<frames::SyntheticScene> scene;
    std::uint32_t width = 0, height = 0;
    std::vector<std::byte> expected;
    std::uint64_t life = 0;  // incarnation that `base` belongs to
    std::uint64_t base = 0;  // number of a frame less its place in the scene
  };

  struct Configured {
    std::vector<std::unique_ptr<Stream>> streams;
    std::vector<Executor::Id> registrations;  // while active
  };

  void take(Stream& stream, Received<msgs::Image>& image) {
    judge(stream, image);
    stream.held.push_back(std::move(image));
    while (stream.held.size() > hold_) let_go(stream);
  }

  void let_go(Stream& stream) {
    judge(stream, stream.held.front());
    stream.held.pop_front();
    stream.ledger.depart();
  }

  void judge(Stream& stream, const Received<msgs::Image>& image) {
    const bool good = draw_size(stream, image.message) && is_right(stream, image);
    ++(good ? stream.verified : stream.torn);
    if (!good) log_error("{}: frame {} is torn", stream.name, image.message.header.seq);
  }

  bool draw_size(Stream& stream, const msgs::Image& image) const {
    if (image.width < 16 || image.height < 16) return false;
    if (stream.scene && stream.width == image.width && stream.height == image.height) return true;
    stream.width = image.width;
    stream.height = image.height;
    stream.scene =
        std::make_unique<frames::SyntheticScene>(stream.seed, objects_, image.width, image.height);
    stream.expected.resize(std::size_t{3} * image.width * image.height);
    return true;
  }

  bool is_right(Stream& stream, const Received<msgs::Image>& image) const {
    const std::uint64_t number = image.message.header.seq;
    if (stream.life == image.message.data.incarnation)
      return number >= stream.base && shows(stream, image, number - stream.base);
    for (std::uint64_t place = 0; place < number; ++place) {
      if (!shows(stream, image, place)) continue;
      stream.life = image.message.data.incarnation;
      stream.base = number - place;
      return true;
    }
    return false;
  }

  static bool shows(Stream& stream, const Received<msgs::Image>& image, std::uint64_t place) {
    const auto pixels = image.buffer.data();
    if (pixels.size() != stream.expected.size()) return false;
    stream.scene->render(place, {stream.expected.data(), stream.width, stream.height,
                                 std::size_t{3} * stream.width});
    return std::memcmp(pixels.data(), stream.expected.data(), pixels.size()) == 0;
  }

  std::vector<std::string> cameras_;
  std::uint32_t objects_ = 5;
  std::size_t hold_ = 2;
  std::uint32_t depth_ = 2;
  std::unique_ptr<Configured> configured_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<WitnessNode>(); }

}  // namespace fovea
