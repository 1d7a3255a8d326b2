// The subscriber's half of a topic: a doorbell and a SUB socket that are emptied into a keep-last
// queue of ours, and the mapped pools whose slots the queued messages hold.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>
#include <zmq.h>

#include "msgs/registry.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/topics/doorbell.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "nodes/runtime/topics/zmq_socket.hpp"

namespace fovea::detail {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
// A subscriber that starts first looks for its publisher this often: soon at first, then 10 times a
// second.
constexpr int kReconnectMs = 10;
constexpr int kReconnectMaxMs = 100;
// Messages that one drain() takes at most, so that a flood cannot keep the caller for ever.
constexpr int kDrainLimit = 4 * kQueueLength;

// Larger messages than this go through ZeroMQ: a socket's queue might not take one.
constexpr std::size_t kMaxPacketBytes = 96 << 10;

// $FOVEA_WAKE_UP: whether messages come to a doorbell.
Result<bool> doorbell_wanted() {
  const char* value = std::getenv("FOVEA_WAKE_UP");
  const std::string_view text = value == nullptr ? "" : value;
  if (text.empty() || text == "doorbell") return true;
  if (text == "zmq") return false;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("FOVEA_WAKE_UP is {}; it must be doorbell or zmq", text));
}

Result<> watch(int epoll_fd, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return fail_errno(ErrorCode::kExhausted, "epoll");
}

std::string describe_hash(std::uint64_t hash) {
  const msgs::MessageType* type = msgs::find_message_type(hash);
  return fmt::format("{:016x} ({})", hash, type == nullptr ? "unknown type" : type->name);
}

class ZmqSubscription final : public SubscriptionCore {
 public:
  ZmqSubscription(const Domain& domain, std::string_view topic, const QoS& qos,
                  const TopicType& type, Decode decode, StageLedger* ledger)
      : domain_(domain),
        topic_(topic),
        qos_(qos),
        type_(type),
        decode_(decode),
        ledger_(ledger),
        queue_(qos.depth),
        last_wire_(make_wire()),
        taken_wire_(make_wire()),
        incoming_(make_wire()) {
    for (Entry& entry : queue_) entry.wire = make_wire();
  }

  Result<> connect() {
    FOVEA_ASSIGN(const std::string endpoint, domain_.topic_endpoint(topic_));
    FOVEA_ASSIGN(socket_, open_zmq_socket(ZMQ_SUB));
    FOVEA_TRY(open_readiness());
    void* socket = socket_.get();
    FOVEA_TRY(set_zmq_option(socket, ZMQ_RECONNECT_IVL, kReconnectMs));
    FOVEA_TRY(set_zmq_option(socket, ZMQ_RECONNECT_IVL_MAX, kReconnectMaxMs));
    FOVEA_TRY(set_zmq_option(socket, ZMQ_RCVHWM, kQueueLength));
    // Either way all messages of the topic come, also those of another layout: they are refused by
    // name, not ignored.
    SubscriptionRequest request;
    request.layout_hash = type_.layout_hash;
    FOVEA_ASSIGN(const bool wanted, doorbell_wanted());
    if (wanted && type_.max_wire_size <= kMaxPacketBytes) {
      FOVEA_ASSIGN(auto doorbell, Doorbell::open(domain_, epoll_.get()));
      doorbell_.emplace(std::move(doorbell));
      request.doorbell_id = doorbell_->id();
    } else {
      zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    }
    if (qos_.reliability == Reliability::kReliable) {
      while (reliable_id_ == 0) {
        if (getrandom(&reliable_id_, sizeof reliable_id_, 0) < 0) reliable_id_ = 0;
      }
      request.reliable_id = reliable_id_;
    }
    if (request.doorbell_id != 0 || request.reliable_id != 0)
      zmq_setsockopt(socket, ZMQ_SUBSCRIBE, &request, sizeof request);
    if (zmq_connect(socket, endpoint.c_str()) != 0) {
      return fail(ErrorCode::kInternal,
                  fmt::format("connect {}: {}", endpoint, zmq_strerror(zmq_errno())));
    }
    return {};
  }

  int fd() const override { return epoll_.get(); }
  std::uint64_t refused() const override { return refused_; }

  void drain() override {
    bool emptied = false;
    for (int i = 0; i < kDrainLimit && !(delivers_reliably() && waiting_ == queue_.size()); ++i) {
      const auto size = receive(i == 0);
      emptied = !size;
      if (emptied) break;
      accept(*size);
    }
    mark_unread(!emptied && !doorbell_);  // what lies at a doorbell keeps it readable by itself
    hold_waiting();
    drop_unused_pool();
  }

  std::optional<std::pair<std::span<const std::byte>, ReadableBuffer>> take() override {
    if (waiting_ == 0) return std::nullopt;
    Entry& entry = oldest();
    std::swap(entry.wire, taken_wire_);
    auto taken = std::make_pair(std::span<const std::byte>(taken_wire_.get(), entry.size),
                                std::move(entry.buffer));
    remove_oldest();
    return taken;
  }

 private:
  // Room for the longest message. Not cleared, so that it takes memory for what has come: few
  // messages are nearly as long as they may be, and queues are deep.
  using Wire = std::unique_ptr<std::byte[]>;
  Wire make_wire() const {
    return std::make_unique_for_overwrite<std::byte[]>(type_.max_wire_size);
  }

  // One descriptor for everything that may have something for us.
  Result<> open_readiness() {
    epoll_ = FileHandle(epoll_create1(EPOLL_CLOEXEC));
    unread_ = FileHandle(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    int zmq_fd = -1;
    std::size_t size = sizeof zmq_fd;
    if (!epoll_ || !unread_ || zmq_getsockopt(socket_.get(), ZMQ_FD, &zmq_fd, &size) != 0)
      return fail_errno(ErrorCode::kExhausted, "epoll");
    FOVEA_TRY(watch(epoll_.get(), unread_.get()));
    return watch(epoll_.get(), zmq_fd);
  }

  // ZeroMQ's descriptor tells only of what is new since the socket was found empty. What a drain
  // leaves in it must keep ours readable.
  void mark_unread(bool unread) {
    if (unread == unread_marked_) return;
    std::uint64_t count = 1;
    const ssize_t done = unread ? write(unread_.get(), &count, sizeof count)
                                : read(unread_.get(), &count, sizeof count);
    if (done == sizeof count) unread_marked_ = unread;
  }

  // The next message into incoming_; its size, which may be larger. nullopt = none waits. Who
  // connects to the doorbell, and what ZeroMQ has to do, is looked after when a drain begins with
  // nothing to read: fd() stays readable until then, and messages do not wait for it.
  std::optional<std::size_t> receive(bool first) {
    if (doorbell_) {
      if (const auto size = doorbell_->receive(incoming())) return size;
      if (!first) return std::nullopt;
      doorbell_->accept();
      if (const auto size = doorbell_->receive(incoming())) return size;
    }
    const int received = receive_now(socket_.get(), incoming_.get(), type_.max_wire_size);
    if (received < 0) return std::nullopt;
    return static_cast<std::size_t>(received);
  }

  std::span<std::byte> incoming() const { return {incoming_.get(), type_.max_wire_size}; }

  struct Entry {
    Wire wire;
    std::size_t size = 0;
    Envelope envelope;
    ReadableBuffer buffer;
  };

  // Nothing is dropped on this side: the publisher waits. Unknown until its first message, then as
  // it says.
  bool delivers_reliably() const {
    return reliable_id_ != 0 && (!pools_[0] || pools_[0]->reliable());
  }

  // queue_[(first_ + i) % depth] is the i-th oldest waiting message.
  Entry& waiting(std::size_t i) { return queue_[(first_ + i) % queue_.size()]; }
  Entry& oldest() { return waiting(0); }
  void remove_oldest() {
    oldest().buffer = ReadableBuffer();
    first_ = (first_ + 1) % queue_.size();
    --waiting_;
  }

  void count_drop(DropReason reason) {
    if (ledger_ != nullptr) ledger_->drop(reason);
  }

  // Judges the message in incoming_ and appends it to the queue.
  void accept(std::size_t size) {
    const std::span<const std::byte> wire(incoming_.get(), std::min(size, type_.max_wire_size));
    if (const std::uint64_t hash = msgs::peek_hash(wire); hash != type_.layout_hash) {
      ++refused_;
      report_layout(hash, size);
      return;
    }
    Envelope envelope;
    if (size > type_.max_wire_size || !decode_(wire, envelope)) {
      ++refused_;
      return;
    }
    ReadableBuffer held;
    if (delivers_reliably()) {
      // What was sent before the publisher knew of this reader is not for it, and not counted.
      held = hold(envelope.data);
      if (!held && envelope.data.bytes != 0 && !joined_) return;
      joined_ = true;
    }
    if (!is_next(wire, envelope)) {
      ++refused_;
      return;
    }
    if (waiting_ == queue_.size()) {
      count_drop(DropReason::kSuperseded);
      remove_oldest();
    }
    Entry& entry = waiting(waiting_++);
    std::swap(entry.wire, incoming_);
    entry.size = size;
    entry.envelope = envelope;
    entry.buffer = std::move(held);
  }

  // One socket never reorders: a number that is not above the last one is the last message once
  // more (sent for a late subscriber), or a publisher that started again from 1.
  bool is_next(std::span<const std::byte> wire, const Envelope& envelope) {
    const bool repeat =
        wire.size() == last_size_ && std::memcmp(wire.data(), last_wire_.get(), last_size_) == 0;
    if (repeat || envelope.topic_seq == 0) return false;
    if (ledger_ != nullptr && !ledger_->arrive(envelope.topic_seq)) return false;
    std::memcpy(last_wire_.get(), wire.data(), wire.size());
    last_size_ = wire.size();
    return true;
  }

  // Holds the payloads of what stays in the queue, the newest first: it matters most. What cannot
  // be held any more leaves the queue.
  void hold_waiting() {
    if (!type_.has_payload) return;
    bool lost_one = false;
    for (std::size_t i = waiting_; i-- > 0;) {
      Entry& entry = waiting(i);
      if (entry.buffer || entry.envelope.data.bytes == 0) continue;
      entry.buffer = hold(entry.envelope.data);
      if (!entry.buffer) {
        entry.size = 0;
        lost_one = true;
      }
    }
    if (lost_one) remove_unheld();
  }

  // Empty if there is nothing to hold or it is too late.
  ReadableBuffer hold(const msgs::BufferRef& data) {
    PoolReader* pool = data.bytes == 0 ? nullptr : pool_of(data.incarnation);
    if (pool == nullptr) return {};
    auto buffer = pool->hold(data);
    return buffer ? std::move(*buffer) : ReadableBuffer();
  }

  // Closes the gaps that entries of size 0 leave, in order.
  void remove_unheld() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < waiting_; ++i) {
      if (waiting(i).size == 0) {
        count_drop(DropReason::kExpired);
      } else {
        if (kept != i) std::swap(waiting(kept), waiting(i));
        ++kept;
      }
    }
    waiting_ = kept;
  }

  // The mapped pool of that incarnation, opened if need be. Two are kept while a publisher changes
  // over.
  PoolReader* pool_of(std::uint64_t incarnation) {
    for (auto& pool : pools_) {
      if (pool && pool->incarnation() == incarnation) return pool.get();
    }
    if (incarnation == unavailable_) return nullptr;
    auto opened = PoolReader::open(domain_, topic_, incarnation, reliable_id_);
    if (!opened) {
      report_pool(incarnation, opened.error());
      return nullptr;
    }
    if (reliable_id_ != 0 && !(*opened)->reliable()) {
      log_warning("{}: its publisher is best effort; messages may be dropped", topic_);
    }
    pools_[1] = std::move(pools_[0]);
    pools_[0] = std::move(*opened);
    return pools_[0].get();
  }

  // The old pool's buffers keep it mapped as long as they live; we need it no longer once no
  // message that waits lies in it.
  void drop_unused_pool() {
    if (!pools_[1]) return;
    for (std::size_t i = 0; i < waiting_; ++i) {
      if (waiting(i).envelope.data.incarnation == pools_[1]->incarnation()) return;
    }
    pools_[1].reset();
  }

  void report_layout(std::uint64_t hash, std::size_t size) {
    if (std::find(reported_hashes_.begin(), reported_hashes_.end(), hash) != reported_hashes_.end())
      return;
    if (reported_count_ == reported_hashes_.size()) return;  // a peer that sends noise
    reported_hashes_[reported_count_++] = hash;
    log_error(
        "{}: refused a message of {} bytes with layout {}; this process expects {}. Build both "
        "alike",
        topic_, size, describe_hash(hash), describe_hash(type_.layout_hash));
  }

  void report_pool(std::uint64_t incarnation, const Error& error) {
    // What is gone or no pool will not become one; anything else may work at the next message.
    if (error.code == ErrorCode::kNotFound || error.code == ErrorCode::kCorrupt)
      unavailable_ = incarnation;
    const std::int64_t now = monotonic_ns();
    if (now - last_report_ns_ < kSecondNs) return;
    last_report_ns_ = now;
    log_warning("{}: cannot read a message's payload: {}", topic_, error.message);
  }

  const Domain domain_;
  const std::string topic_;
  const QoS qos_;
  const TopicType type_;
  const Decode decode_;
  StageLedger* const ledger_;

  FileHandle epoll_;
  FileHandle unread_;
  bool unread_marked_ = false;
  ZmqSocket socket_;
  std::optional<Doorbell> doorbell_;                  // empty: messages come through ZeroMQ
  std::uint64_t reliable_id_ = 0;                     // 0 = best effort
  bool joined_ = false;                               // a message was held for this reliable reader
  std::array<std::unique_ptr<PoolReader>, 2> pools_;  // the newest first
  std::uint64_t unavailable_ = 0;

  std::vector<Entry> queue_;
  std::size_t first_ = 0;
  std::size_t waiting_ = 0;
  Wire last_wire_;
  std::size_t last_size_ = 0;
  Wire taken_wire_;
  Wire incoming_;

  std::uint64_t refused_ = 0;
  std::array<std::uint64_t, 8> reported_hashes_{};
  std::size_t reported_count_ = 0;
  std::int64_t last_report_ns_ = -kSecondNs;
};

}  // namespace

Result<std::unique_ptr<SubscriptionCore>> SubscriptionCore::create(
    const Domain& domain, std::string_view topic, const QoS& qos, const TopicType& type,
    Decode decode, StageLedger* ledger) {
  if (qos.depth < 1 || qos.depth > kMaxPoolSlots) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("subscription of {}: depth is {}; it must be 1..{}", topic, qos.depth,
                            kMaxPoolSlots));
  }
  auto subscription = std::make_unique<ZmqSubscription>(domain, topic, qos, type, decode, ledger);
  if (ledger != nullptr) ledger->reads(topic);
  FOVEA_TRY(subscription->connect());
  return subscription;
}

}  // namespace fovea::detail
