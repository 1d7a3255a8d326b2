#include "launch/bench/collector.hpp"

#include "launch/bench/bench_config.hpp"
#include "nodes/base/clock.hpp"

namespace fovea::bench {
namespace {

// Messages that may wait while this process does not run: two seconds of a fast camera.
constexpr std::uint32_t kDepth = 1024;
constexpr std::size_t kExpectedFrames = 1u << 16;

}  // namespace

Result<std::unique_ptr<Collector>> Collector::start(const Domain& domain, std::uint32_t cameras) {
  std::unique_ptr<Collector> collector(new Collector);
  collector->frames_.reserve(kExpectedFrames);
  collector->received_.resize(cameras);
  for (std::uint32_t i = 0; i < cameras; ++i) {
    FOVEA_ASSIGN(auto subscription, Subscription<msgs::Detection2DArray>::create(
                                        domain, camera_name(i) + "/detections", {.depth = kDepth}));
    collector->subscriptions_.push_back(
        std::make_unique<Subscription<msgs::Detection2DArray>>(std::move(subscription)));
    collector->executor_.add_fd(collector->subscriptions_.back()->fd(),
                                [c = collector.get(), i] { c->take(i); });
  }
  collector->thread_ = std::thread([c = collector.get()] { c->executor_.run(); });
  return collector;
}

Collector::~Collector() {
  if (!thread_.joinable()) return;
  executor_.stop();
  thread_.join();
}

void Collector::take(std::uint32_t camera) {
  Subscription<msgs::Detection2DArray>& subscription = *subscriptions_[camera];
  subscription.drain();
  const std::int64_t now = monotonic_ns();
  const std::lock_guard lock(mutex_);
  while (const auto detections = subscription.take()) {
    const msgs::Header& header = detections->message.header;
    frames_.push_back({.camera = camera,
                       .seq = header.seq,
                       .due = header.stamp_monotonic,
                       .stages = header.stages,
                       .received = now});
    ++received_[camera];
  }
}

std::vector<std::uint64_t> Collector::received() const {
  const std::lock_guard lock(mutex_);
  return received_;
}

std::vector<FrameRecord> Collector::frames() const {
  const std::lock_guard lock(mutex_);
  return frames_;
}

}  // namespace fovea::bench
