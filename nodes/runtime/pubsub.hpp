// Topics: one publisher, any number of subscribers, either side first. Small messages travel through
// ZeroMQ; payloads stay in the publisher's shared-memory pool and are held, not copied.
//
//   Publisher<msgs::Image> images(...);              Subscription<msgs::Image> sub(..., [](Received<msgs::Image> r) {
//   if (auto slot = images.loan(bytes)) {                 r.message.width; r.buffer.data();
//     fill(slot->data());                             });
//     images.publish(message, std::move(*slot), bytes);
//   }
//
// Thread safety: a Publisher or Subscription belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "msgs/wire.hpp"
#include "nodes/runtime/buffer_pool.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/ledger.hpp"
#include "nodes/runtime/result.hpp"

namespace fovea {

enum class Reliability { kBestEffort, kReliable };
enum class Durability { kVolatile, kTransientLocal };

// ROS 2's QoS, the part that makes sense on one host.
struct QoS {
  // Keep last n. On a subscription: how many unread messages wait, older ones are dropped as `superseded`.
  std::uint32_t depth = 1;
  // kReliable: the publisher waits for slow readers instead of recycling (replay, golden tests).
  Reliability reliability = Reliability::kBestEffort;
  // kTransientLocal: a late subscriber gets the last message at once. Messages without payload only.
  Durability durability = Durability::kVolatile;
};

// The process's one ZeroMQ context, created at first use, one I/O thread.
void* zmq_context();

namespace detail {

// The untyped halves; all of ZeroMQ and the pools is behind these.
class PublisherCore {
 public:
  static Result<std::unique_ptr<PublisherCore>> create(const Domain& domain, std::string_view topic,
                                                       const QoS& qos, const PoolOptions& pool,
                                                       std::uint64_t layout_hash, StageLedger* ledger);
  virtual ~PublisherCore() = default;
  virtual std::optional<WritableBuffer> loan(std::size_t bytes) = 0;
  virtual msgs::BufferRef seal(WritableBuffer&& buffer, std::size_t bytes) = 0;
  virtual std::uint64_t next_topic_seq() = 0;
  virtual void send(std::span<const std::byte> wire) = 0;
  virtual int subscription_count() = 0;
  virtual int poll_fd_events() = 0;
  virtual void* socket() = 0;
};

struct Delivery {
  std::span<const std::byte> wire;
};

class SubscriptionCore {
 public:
  // `decode_header` extracts what the core needs from a message of the right layout: its topic_seq and, if
  // it has a payload, its BufferRef. False for malformed bytes.
  struct Envelope {
    std::uint64_t topic_seq = 0;
    msgs::BufferRef data;
  };
  using Decode = bool (*)(std::span<const std::byte> wire, Envelope& out);

  static Result<std::unique_ptr<SubscriptionCore>> create(const Domain& domain, std::string_view topic,
                                                          const QoS& qos, std::uint64_t layout_hash,
                                                          Decode decode, StageLedger* ledger);
  virtual ~SubscriptionCore() = default;
  virtual void* socket() = 0;
  // Drains the socket into the keep-last queue.
  virtual void drain() = 0;
  // The oldest waiting message and its held payload; nullopt when none waits. `wire` stays valid until the
  // next call.
  virtual std::optional<std::pair<std::span<const std::byte>, ReadableBuffer>> take() = 0;
  // Messages refused for their layout, size or source; repeats.
  virtual std::uint64_t refused() const = 0;
};

template <class M>
concept HasPayload = requires(M m) { m.data; };

}  // namespace detail

template <msgs::Message M>
class Publisher {
 public:
  // `ledger` (may be null) gets departures and pool_exhausted drops, and numbers the messages.
  static Result<Publisher> create(const Domain& domain, std::string_view topic, const QoS& qos = {},
                                  const PoolOptions& pool = {}, StageLedger* ledger = nullptr) {
    FOVEA_ASSIGN(auto core, detail::PublisherCore::create(domain, topic, qos, pool, msgs::kLayoutHash<M>,
                                                          ledger));
    return Publisher(std::move(core));
  }

  // A slot of at least `bytes`; the pool is made anew when they do not fit. Best effort: never blocks;
  // nullopt = exhausted, counted in the ledger as pool_exhausted. Reliable: waits for a reader.
  std::optional<WritableBuffer> loan(std::size_t bytes) { return core_->loan(bytes); }

  // Sends `message` with `buffer` as its payload; consumes the buffer.
  void publish(M& message, WritableBuffer&& buffer, std::size_t bytes)
    requires detail::HasPayload<M>
  {
    message.data = core_->seal(std::move(buffer), bytes);
    send(message);
  }

  // Sends a message that has no payload.
  void publish(M& message) { send(message); }

  // Subscriptions as of now. Also serves late subscribers of a transient-local topic.
  int subscription_count() { return core_->subscription_count(); }
  void* socket() { return core_->socket(); }

 private:
  explicit Publisher(std::unique_ptr<detail::PublisherCore> core) : core_(std::move(core)) {}

  void send(M& message) {
    message.header.topic_seq = core_->next_topic_seq();
    core_->send({wire_.get(), msgs::encode(message, {wire_.get(), msgs::kMaxWireSize<M>})});
  }

  std::unique_ptr<detail::PublisherCore> core_;
  std::unique_ptr<std::byte[]> wire_ = std::make_unique<std::byte[]>(msgs::kMaxWireSize<M>);
};

template <msgs::Message M>
struct Received {
  M message;
  ReadableBuffer buffer;  // empty for messages without payload
};

template <msgs::Message M>
class Subscription {
 public:
  // `ledger` (may be null) gets arrivals and the drops on the way: lost, superseded, expired.
  static Result<Subscription> create(const Domain& domain, std::string_view topic, const QoS& qos = {},
                                     StageLedger* ledger = nullptr) {
    FOVEA_ASSIGN(auto core, detail::SubscriptionCore::create(domain, topic, qos, msgs::kLayoutHash<M>,
                                                             &decode_envelope, ledger));
    return Subscription(std::move(core));
  }

  // The oldest waiting message, or nullopt. Call until it returns nullopt whenever socket() is readable
  // (edge-triggered underneath; the Executor does).
  std::optional<Received<M>> take() {
    auto delivery = core_->take();
    if (!delivery) return std::nullopt;
    std::optional<Received<M>> received(std::in_place);
    if (msgs::decode(delivery->first, received->message) != msgs::DecodeError::kNone) return std::nullopt;
    received->buffer = std::move(delivery->second);
    return received;
  }

  void drain() { core_->drain(); }
  void* socket() { return core_->socket(); }
  std::uint64_t refused() const { return core_->refused(); }

 private:
  explicit Subscription(std::unique_ptr<detail::SubscriptionCore> core) : core_(std::move(core)) {}

  static bool decode_envelope(std::span<const std::byte> wire, detail::SubscriptionCore::Envelope& out) {
    M message;
    if (msgs::decode(wire, message) != msgs::DecodeError::kNone) return false;
    out.topic_seq = message.header.topic_seq;
    if constexpr (detail::HasPayload<M>) out.data = message.data;
    return true;
  }

  std::unique_ptr<detail::SubscriptionCore> core_;
};

}  // namespace fovea
