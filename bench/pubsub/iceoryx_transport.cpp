// iceoryx 2.0.3: chunks of a daemon's shared memory, woken through a WaitSet.
#include <cstring>
#include <string>

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <unistd.h>

#include "bench/pubsub/transport.hpp"

namespace fovea::bench {
namespace {

constexpr std::uint64_t kQueue = 4;
constexpr std::uint32_t kAlignment = 64;

iox::capro::ServiceDescription service() { return {"fovea", "bench", "frames"}; }

void register_process(const char* role) {
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kWarn);
  const std::string name = role + std::to_string(getpid());
  iox::runtime::PoshRuntime::initRuntime(
      iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
}

class IceoryxSource final : public Source {
 public:
  explicit IceoryxSource(const Job& job) : bytes_(static_cast<std::uint32_t>(job.bytes)) {
    register_process("source");
    iox::popo::PublisherOptions options;
    options.historyCapacity = 0;
    if (job.lossless())
      options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    publisher_ = std::make_unique<iox::popo::UntypedPublisher>(service(), options);
  }
  // It cannot count them; the sinks tell.
  bool joined(int) override { return publisher_->hasSubscribers(); }
  std::span<std::byte> loan() override {
    chunk_ = nullptr;
    publisher_->loan(bytes_, kAlignment)
        .and_then([&](void* payload) { chunk_ = payload; })
        .or_else([](auto&) {});
    if (chunk_ == nullptr) return {};
    return {static_cast<std::byte*>(chunk_), bytes_};
  }
  void publish() override { publisher_->publish(chunk_); }

 private:
  std::uint32_t bytes_;
  std::unique_ptr<iox::popo::UntypedPublisher> publisher_;
  void* chunk_ = nullptr;
};

class IceoryxSink final : public Sink {
 public:
  explicit IceoryxSink(const Job& job) {
    register_process("sink");
    iox::popo::SubscriberOptions options;
    options.queueCapacity = kQueue;
    options.historyRequest = 0;
    if (job.lossless()) options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    subscriber_ = std::make_unique<iox::popo::UntypedSubscriber>(service(), options);
    waits_ = std::make_unique<iox::popo::WaitSet<>>();
    waits_->attachState(*subscriber_, iox::popo::SubscriberState::HAS_DATA).or_else([](auto) {
      give_up("iceoryx: the subscriber does not go into the wait set");
    });
  }
  bool joined() override {
    return subscriber_->getSubscriptionState() == iox::SubscribeState::SUBSCRIBED;
  }
  std::span<const std::byte> receive(int timeout_ms) override {
    if (!take()) {
      waits_->timedWait(
          iox::units::Duration::fromMilliseconds(static_cast<std::uint64_t>(timeout_ms)));
      if (!take()) return {};
    }
    // The chunk's own size is rounded up.
    FrameHeader header;
    std::memcpy(&header, chunk_, sizeof header);
    return {static_cast<const std::byte*>(chunk_), header.bytes};
  }
  void release() override { subscriber_->release(chunk_); }

 private:
  bool take() {
    bool taken = false;
    subscriber_->take()
        .and_then([&](const void* payload) {
          chunk_ = payload;
          taken = true;
        })
        .or_else([](auto&) {});
    return taken;
  }
  std::unique_ptr<iox::popo::UntypedSubscriber> subscriber_;
  std::unique_ptr<iox::popo::WaitSet<>> waits_;
  const void* chunk_ = nullptr;
};

}  // namespace

std::unique_ptr<Source> make_iceoryx_source(const Job& job) {
  return std::make_unique<IceoryxSource>(job);
}
std::unique_ptr<Sink> make_iceoryx_sink(const Job& job) {
  return std::make_unique<IceoryxSink>(job);
}

}  // namespace fovea::bench
