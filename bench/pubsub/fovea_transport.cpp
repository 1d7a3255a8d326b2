// Ours, through the public Publisher and Subscription, with either wake-up.
#include <optional>

#include <poll.h>
#include <stdlib.h>

#include "bench/pubsub/transport.hpp"
#include "msgs/image.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea::bench {
namespace {

constexpr std::string_view kTopic = "bench/frames";
// As many frames may wait in every transport. Slots: these, one being written, one being read.
constexpr std::uint32_t kDepth = 4;
constexpr std::uint32_t kSlots = 8;
constexpr std::uint32_t kRetained = 2;

template <class T>
T must(Result<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}

QoS qos_of(const Job& job) {
  QoS qos;
  qos.depth = kDepth;
  if (job.lossless()) qos.reliability = Reliability::kReliable;
  return qos;
}

PoolOptions pool_of(const Job& job) {
  PoolOptions pool;
  pool.slot_bytes = job.bytes;
  pool.slot_count = kSlots;
  pool.retained_depth = kRetained;
  return pool;
}

class FoveaSource final : public Source {
 public:
  explicit FoveaSource(const Job& job)
      : bytes_(job.bytes),
        images_(must(Publisher<msgs::Image>::create(must(Domain::open()), kTopic, qos_of(job),
                                                    pool_of(job)))) {}
  bool joined(int count) override { return images_.subscription_count() >= count; }
  std::span<std::byte> loan() override {
    slot_ = images_.loan(bytes_);
    return slot_ ? slot_->data().first(bytes_) : std::span<std::byte>();
  }
  void publish() override {
    msgs::Image image;
    images_.publish(image, std::move(*slot_), bytes_);
  }
  void finish() override { images_.flush(std::chrono::seconds(5)); }

 private:
  std::size_t bytes_;
  Publisher<msgs::Image> images_;
  std::optional<WritableBuffer> slot_;
};

class FoveaSink final : public Sink {
 public:
  explicit FoveaSink(const Job& job)
      : images_(
            must(Subscription<msgs::Image>::create(must(Domain::open()), kTopic, qos_of(job)))) {}
  std::span<const std::byte> receive(int timeout_ms) override {
    received_ = images_.take();
    if (!received_) {
      pollfd item{images_.fd(), POLLIN, 0};
      if (poll(&item, 1, timeout_ms) <= 0) return {};
      images_.drain();
      received_ = images_.take();
    }
    return received_ ? received_->buffer.data() : std::span<const std::byte>();
  }
  void release() override { received_.reset(); }

 private:
  Subscription<msgs::Image> images_;
  std::optional<Received<msgs::Image>> received_;
};

}  // namespace

std::unique_ptr<Source> make_fovea_source(const Job& job) {
  return std::make_unique<FoveaSource>(job);
}

std::unique_ptr<Sink> make_fovea_sink(const Job& job) {
  setenv("FOVEA_WAKE_UP", job.transport == "fovea-zmq" ? "zmq" : "doorbell", 1);
  return std::make_unique<FoveaSink>(job);
}

}  // namespace fovea::bench
