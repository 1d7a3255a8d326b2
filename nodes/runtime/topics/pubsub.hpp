// Topics: one publisher, any number of subscribers, either side first. Small messages travel
// through sockets; payloads stay in the publisher's shared-memory pool and are held, not copied.
//
//   if (auto slot = images.loan(bytes)) {                   sub.drain();  // when fd() is readable
//     fill(slot->data());                                   while (auto r = sub.take())
//     images.publish(message, std::move(*slot), bytes);       use(r->message, r->buffer.data());
//   }
//
// ZeroMQ carries who subscribes, and who is gone. Messages take the shorter way to the
// subscription's own socket (doorbell.hpp: one wake-up instead of three) unless $FOVEA_WAKE_UP is
// `zmq` in the subscriber's environment; the meaning of everything here is the same.
//
// Thread safety: a Publisher or Subscription belongs to one thread at a time.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "msgs/wire.hpp"
#include "nodes/base/result.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/figures/ledger.hpp"
#include "nodes/runtime/slots/buffer_pool.hpp"

namespace fovea {

enum class Reliability { kBestEffort, kReliable };
enum class Durability { kVolatile, kTransientLocal };

// ROS 2's QoS, the part that makes sense on one host.
struct QoS {
  // Keep last n. On a subscription: how many unread messages wait, older ones are dropped as
  // `superseded`.
  std::uint32_t depth = 1;
  // kReliable: the publisher waits for slow readers instead of recycling (replay, golden tests).
  // Takes both sides; a reliable subscription of a best-effort topic is best effort.
  Reliability reliability = Reliability::kBestEffort;
  // kTransientLocal, publisher's side: a late subscriber gets the last message at once. Messages
  // without payload only.
  Durability durability = Durability::kVolatile;
};

// The process's one ZeroMQ context, created at first use, one I/O thread. Never destroyed.
void* zmq_context();

namespace detail {

// What both ends of a topic must agree on.
struct TopicType {
  std::uint64_t layout_hash = 0;
  std::size_t max_wire_size = 0;
  bool has_payload = false;
};

// The untyped halves; all of ZeroMQ and the pools is behind these. Meaning as in the templates
// below.
class PublisherCore {
 public:
  static Result<std::unique_ptr<PublisherCore>> create(const Domain& domain, std::string_view topic,
                                                       const QoS& qos, const PoolOptions& pool,
                                                       const TopicType& type, StageLedger* ledger);
  virtual ~PublisherCore() = default;
  virtual std::optional<WritableBuffer> loan(std::size_t bytes) = 0;
  virtual msgs::BufferRef seal(WritableBuffer&& buffer, std::size_t bytes) = 0;
  virtual std::uint64_t next_topic_seq() = 0;
  virtual void send(std::span<const std::byte> wire) = 0;
  virtual int subscription_count() = 0;
  virtual bool flush(std::chrono::milliseconds timeout) = 0;
  virtual void interrupt() = 0;
  virtual void* socket() = 0;
};

class SubscriptionCore {
 public:
  // What the core needs of a message of the right layout: its number and, if it has a payload,
  // where.
  struct Envelope {
    std::uint64_t topic_seq = 0;
    msgs::BufferRef data;
  };
  // False for malformed bytes.
  using Decode = bool (*)(std::span<const std::byte> wire, Envelope& out);

  static Result<std::unique_ptr<SubscriptionCore>> create(const Domain& domain,
                                                          std::string_view topic, const QoS& qos,
                                                          const TopicType& type, Decode decode,
                                                          StageLedger* ledger);
  virtual ~SubscriptionCore() = default;
  virtual int fd() const = 0;
  virtual void drain() = 0;
  // `wire` stays valid until the next call.
  virtual std::optional<std::pair<std::span<const std::byte>, ReadableBuffer>> take() = 0;
  virtual std::uint64_t refused() const = 0;
};

template <class M>
concept HasPayload = requires(M m) {
  { m.data } -> std::same_as<msgs::BufferRef&>;
};

template <msgs::Message M>
inline constexpr TopicType kTopicType{msgs::kLayoutHash<M>, msgs::kMaxWireSize<M>, HasPayload<M>};

}  // namespace detail

template <msgs::Message M>
class Publisher {
 public:
  // `ledger` (may be null) gets departures and pool_exhausted drops, and numbers the messages;
  // without one they count from 1. Both must outlive the publisher. Errors: kUnavailable when a
  // live process publishes on the topic; those of Domain::topic_endpoint(); kInvalidArgument for a
  // pool or QoS out of range.
  static Result<Publisher> create(const Domain& domain, std::string_view topic, const QoS& qos = {},
                                  const PoolOptions& pool = {}, StageLedger* ledger = nullptr) {
    FOVEA_ASSIGN(auto core, detail::PublisherCore::create(domain, topic, qos, pool,
                                                          detail::kTopicType<M>, ledger));
    return Publisher(std::move(core));
  }

  // A slot of at least `bytes`; the pool is made anew when they do not fit, so publish what is
  // loaned before asking for more. Best effort: never blocks; nullopt = exhausted, or no space for
  // a pool (logged), counted in the ledger as pool_exhausted: ask once per frame. Reliable: waits
  // for a reader, until interrupt() or a pending SIGINT or SIGTERM.
  std::optional<WritableBuffer> loan(std::size_t bytes) { return core_->loan(bytes); }

  // Sends `message` with `buffer` as its payload; consumes the buffer.
  void publish(M& message, WritableBuffer&& buffer,
               std::size_t bytes) requires detail::HasPayload<M> {
    message.data = core_->seal(std::move(buffer), bytes);
    send(message);
  }

  // Sends a message that has no payload. Reliable topics of such messages wait for the slowest
  // subscriber's queue, as loan() does.
  void publish(M& message) { send(message); }

  // Subscriptions as of now. Also serves late subscribers of a transient-local topic: such a
  // publisher has its socket() watched by the executor, with a callback that calls this.
  int subscription_count() { return core_->subscription_count(); }
  void* socket() { return core_->socket(); }

  // Reliable: waits until the readers have given back every slot; false when `timeout` passes or a
  // stop signal comes first. The destructor does this for a second; at the end of a replay call it
  // with patience.
  bool flush(std::chrono::milliseconds timeout) { return core_->flush(timeout); }

  // Ends a waiting loan() or flush(), and every later wait. Any thread.
  void interrupt() { core_->interrupt(); }

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
  // `ledger` (may be null) gets arrivals and the drops on the way: lost, superseded, expired; what
  // take() returns is the caller's to account for. Either side may start first, and a publisher
  // that comes back is found again.
  static Result<Subscription> create(const Domain& domain, std::string_view topic,
                                     const QoS& qos = {}, StageLedger* ledger = nullptr) {
    FOVEA_ASSIGN(auto core,
                 detail::SubscriptionCore::create(domain, topic, qos, detail::kTopicType<M>,
                                                  &decode_envelope, ledger));
    return Subscription(std::move(core));
  }

  // The oldest waiting message, or nullopt.
  std::optional<Received<M>> take() {
    auto delivery = core_->take();
    if (!delivery) return std::nullopt;
    std::optional<Received<M>> received(std::in_place);
    if (msgs::decode(delivery->first, received->message) != msgs::DecodeError::kNone)
      return std::nullopt;
    received->buffer = std::move(delivery->second);
    return received;
  }

  // Moves what has arrived into the keep-last queue and holds the payloads of what stays there.
  // Whenever fd() is readable: drain() once, then take() until it returns nullopt. Reliable: stops
  // when the queue is full, so fd() stays readable.
  void drain() { core_->drain(); }
  // For poll() and the executor: level-triggered, now and then readable without a message; lives as
  // long as the subscription.
  int fd() const { return core_->fd(); }
  // Messages refused for their layout, size or number, and repeats.
  std::uint64_t refused() const { return core_->refused(); }

 private:
  explicit Subscription(std::unique_ptr<detail::SubscriptionCore> core) : core_(std::move(core)) {}

  static bool decode_envelope(std::span<const std::byte> wire,
                              detail::SubscriptionCore::Envelope& out) {
    M message;
    if (msgs::decode(wire, message) != msgs::DecodeError::kNone) return false;
    out.topic_seq = message.header.topic_seq;
    if constexpr (detail::HasPayload<M>) out.data = message.data;
    return true;
  }

  std::unique_ptr<detail::SubscriptionCore> core_;
};

}  // namespace fovea
