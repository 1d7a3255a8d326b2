// The publisher's half of a topic: an XPUB socket, a pool made at the first loan, and what each
// subscriber asked for: its messages at a doorbell, reliable delivery.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <time.h>
#include <zmq.h>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/topics/doorbell.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "nodes/runtime/topics/zmq_socket.hpp"

namespace fovea::detail {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kReapWhileWaitingNs = 10'000'000;
constexpr milliseconds kWaitStep{5};
constexpr milliseconds kFlushOnClose{1000};
constexpr int kReliableLingerMs = 1000;

class ZmqPublisher final : public PublisherCore {
 public:
  ZmqPublisher(const Domain& domain, std::string_view topic, const QoS& qos,
               const PoolOptions& pool, const TopicType& type, StageLedger* ledger)
      : domain_(domain),
        topic_(topic),
        qos_(qos),
        pool_options_(pool),
        type_(type),
        ledger_(ledger),
        doorbells_(domain) {
    pool_options_.reliable = reliable();
    reliable_ids_.reserve(kMaxHolders);
  }

  ~ZmqPublisher() override {
    if (pool_ && reliable()) flush(kFlushOnClose);
  }

  Result<> bind() {
    FOVEA_ASSIGN(const std::string endpoint, domain_.topic_endpoint(topic_));
    FOVEA_ASSIGN(socket_, open_zmq_socket(ZMQ_XPUB));
    // Every subscription and every end of one is reported, also equal ones: we count them.
    FOVEA_TRY(set_zmq_option(socket_.get(), ZMQ_XPUB_VERBOSER, 1));
    int queue = kQueueLength;
    if (reliable()) {
      FOVEA_TRY(set_zmq_option(socket_.get(), ZMQ_LINGER, kReliableLingerMs));
      if (type_.has_payload) {
        // A reliable reader has at most slot_count unread messages, and ZeroMQ learns what was read
        // with a delay of half the queue: with four times as much its queue never fills, and a
        // best-effort subscriber that stalls loses its messages instead of stopping us.
        queue = std::max(queue, 4 * static_cast<int>(pool_options_.slot_count));
      } else {
        FOVEA_TRY(set_zmq_option(socket_.get(), ZMQ_XPUB_NODROP, 1));
      }
    }
    FOVEA_TRY(set_zmq_option(socket_.get(), ZMQ_SNDHWM, queue));
    FOVEA_ASSIGN(path_, BoundPath::bind(domain_, socket_.get(), endpoint, "topic " + topic_));
    return {};
  }

  std::optional<WritableBuffer> loan(std::size_t bytes) override {
    auto buffer = loan_or_wait(std::max<std::size_t>(bytes, 1));
    if (!buffer && ledger_ != nullptr) ledger_->drop(DropReason::kPoolExhausted);
    return buffer;
  }

  msgs::BufferRef seal(WritableBuffer&& buffer, std::size_t bytes) override {
    // A reader whose request is in ZeroMQ's hands gets this message: it must be held for it.
    if (reliable()) serve_subscriptions();
    return pool_->publish(std::move(buffer), bytes, pool_->reliable_readers());
  }

  std::uint64_t next_topic_seq() override {
    return ledger_ != nullptr ? ledger_->depart() : ++sent_;
  }

  void send(std::span<const std::byte> wire) override {
    if (!type_.has_payload) serve_subscriptions();
    if (zmq_subscription_count_ > 0) send_through_zmq(wire);
    if (doorbells_.count() > 0) doorbells_.send(wire, stopped_);
    if (qos_.durability == Durability::kTransientLocal) last_wire_.assign(wire.begin(), wire.end());
  }

  void send_through_zmq(std::span<const std::byte> wire) {
    while (send_now(socket_.get(), wire.data(), wire.size()) < 0) {
      if (zmq_errno() != EAGAIN || stopped()) {
        log_warning("{}: message not sent: {}", topic_, zmq_strerror(zmq_errno()));
        break;
      }
      zmq_pollitem_t item{socket_.get(), 0, ZMQ_POLLIN, 0};
      zmq_poll(&item, 1, 1);  // a subscriber's queue is full; one that leaves makes us readable
      serve_subscriptions();
    }
  }

  int subscription_count() override {
    serve_subscriptions();
    return zmq_subscription_count_ + doorbells_.count();
  }

  bool flush(milliseconds timeout) override {
    const std::int64_t deadline = monotonic_ns() + std::chrono::nanoseconds(timeout).count();
    serve_subscriptions();
    while (pool_ && pool_->reliable_pending()) {
      if (stopped() || monotonic_ns() >= deadline) return false;
      const timespec pause{0, 1'000'000};
      nanosleep(&pause, nullptr);
      reap_every(kReapWhileWaitingNs);
      serve_subscriptions();
    }
    return true;
  }

  void interrupt() override { interrupted_.store(true, std::memory_order_relaxed); }
  void* socket() override { return socket_.get(); }

 private:
  bool reliable() const { return qos_.reliability == Reliability::kReliable; }
  bool stopped() const {
    return interrupted_.load(std::memory_order_relaxed) || stop_signal_pending();
  }

  std::optional<WritableBuffer> loan_or_wait(std::size_t bytes) {
    serve_subscriptions();
    if (!make_pool_for(bytes)) return std::nullopt;
    reap_every(kSecondNs);
    if (!reliable()) return pool_->loan();
    for (;;) {
      if (auto buffer = pool_->try_loan()) return buffer;
      // Slots that this publisher has loaned and not published come back from nobody.
      if (stopped() || pool_->loaned_count() == pool_->options().slot_count) return std::nullopt;
      pool_->wait_for_release(kWaitStep);
      reap_every(kReapWhileWaitingNs);
      serve_subscriptions();
    }
  }

  void reap_every(std::int64_t period_ns) {
    const std::int64_t now = monotonic_ns();
    if (!pool_ || now - last_reap_ns_ < period_ns) return;
    last_reap_ns_ = now;
    pool_->reap();
    // One that found no free number when it asked.
    for (const std::uint64_t id : reliable_ids_) pool_->reserve(id);
  }

  bool make_pool_for(std::size_t bytes) {
    const bool damaged = pool_ && pool_->damaged();
    if (pool_ && !damaged && bytes <= pool_->options().slot_bytes) return true;
    // A filesystem that was too small is asked again once a second, not once a frame.
    if (monotonic_ns() < next_pool_try_ns_) return false;
    // Once the old file is gone nobody can open it: let reliable readers take what lies there.
    while (pool_ && !damaged && reliable() && !flush(kFlushOnClose)) {
      if (stopped()) return false;
    }
    PoolOptions options = pool_options_;
    options.slot_bytes = std::max(bytes, options.slot_bytes);
    auto pool = BufferPool::create(domain_, topic_, options);
    if (!pool) {
      if (next_pool_try_ns_ == 0) log_error("{}", pool.error().message);
      next_pool_try_ns_ = monotonic_ns() + kSecondNs;
      return false;
    }
    next_pool_try_ns_ = 0;
    if (damaged) {
      log_error("{}: another process has truncated {}; going on in a new pool", topic_,
                pool_->path().native());
    }
    pool_ = std::move(*pool);
    for (const std::uint64_t id : reliable_ids_) reserve(id);
    return true;
  }

  void reserve(std::uint64_t id) {
    if (pool_->reserve(id)) return;
    log_warning("{}: a reliable reader must wait, {} readers are there already", topic_,
                kMaxHolders);
  }

  // Takes in who subscribed and who left.
  void serve_subscriptions() {
    std::array<char, 1 + sizeof(SubscriptionRequest)> event;
    bool joined = false;
    for (;;) {
      int connection = -1;
      const int received = receive_event(socket_.get(), event.data(), event.size(), connection);
      if (received < 0) break;
      const auto size = static_cast<std::size_t>(received);
      if (size == 0 || (event[0] != 0 && event[0] != 1)) continue;
      const bool subscribed = event[0] == 1;
      if (!limit_.count(connection, subscribed) && !std::exchange(closed_one_, true)) {
        log_warning("{}: a peer with more than {} subscriptions is disconnected", topic_,
                    kMaxSubscriptionsOfAPeer);
      }
      if (size == 1) {
        zmq_subscription_count_ += subscribed ? 1 : -1;
        joined = joined || subscribed;
      } else if (size == event.size()) {
        SubscriptionRequest request;
        std::memcpy(static_cast<void*>(&request), event.data() + 1, sizeof request);
        if (request.magic == SubscriptionRequest().magic) serve_request(request, subscribed);
      }
    }
    if (joined && !last_wire_.empty())
      send_now(socket_.get(), last_wire_.data(), last_wire_.size());
  }

  // The reservation comes before the doorbell's first packet: that one is held for the reader.
  void serve_request(const SubscriptionRequest& request, bool subscribed) {
    const bool wants_all =
        reliable() && request.reliable_id != 0 && request.layout_hash == type_.layout_hash;
    if (wants_all && type_.has_payload) serve_reliable(request.reliable_id, subscribed);
    if (request.doorbell_id == 0) return;
    if (!subscribed) {
      doorbells_.remove(request.doorbell_id);
    } else if (doorbells_.add(request.doorbell_id, wants_all) && !last_wire_.empty()) {
      doorbells_.send_to_newest(last_wire_);
    }
  }

  void serve_reliable(std::uint64_t id, bool subscribed) {
    const auto known = std::find(reliable_ids_.begin(), reliable_ids_.end(), id);
    if (!subscribed && known != reliable_ids_.end()) {
      reliable_ids_.erase(known);
      if (pool_) pool_->release_reserved(id);
    } else if (subscribed && known == reliable_ids_.end()) {
      if (reliable_ids_.size() == kMaxHolders) {
        log_warning("{}: a reliable reader is refused, {} are there already", topic_, kMaxHolders);
        return;
      }
      reliable_ids_.push_back(id);
      if (pool_) reserve(id);
    }
  }

  const Domain domain_;
  const std::string topic_;
  const QoS qos_;
  PoolOptions pool_options_;
  const TopicType type_;
  StageLedger* const ledger_;

  ZmqSocket socket_;
  BoundPath
      path_;  // after socket_: gone before the socket closes, so that a successor may bind at once
  DoorbellLines doorbells_;
  std::unique_ptr<BufferPool> pool_;
  std::int64_t last_reap_ns_ = 0;
  std::int64_t next_pool_try_ns_ = 0;
  PeerLimit limit_;
  bool closed_one_ = false;
  int zmq_subscription_count_ = 0;  // those whose messages go through ZeroMQ
  std::vector<std::uint64_t> reliable_ids_;
  std::vector<std::byte> last_wire_;  // transient local only
  std::uint64_t sent_ = 0;
  std::atomic<bool> interrupted_{false};
  const std::function<bool()> stopped_ = [this] { return stopped(); };
};

}  // namespace

Result<std::unique_ptr<PublisherCore>> PublisherCore::create(const Domain& domain,
                                                             std::string_view topic, const QoS& qos,
                                                             const PoolOptions& pool,
                                                             const TopicType& type,
                                                             StageLedger* ledger) {
  if (qos.durability == Durability::kTransientLocal && type.has_payload) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("topic {} is transient local; only messages without payload can be", topic));
  }
  if (pool.slot_count < 1 || pool.slot_count > kMaxPoolSlots) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("topic {}: slot_count is {}; it must be 1..{}", topic, pool.slot_count,
                            kMaxPoolSlots));
  }
  auto publisher = std::make_unique<ZmqPublisher>(domain, topic, qos, pool, type, ledger);
  FOVEA_TRY(publisher->bind());
  if (ledger != nullptr) ledger->writes(topic);
  return publisher;
}

}  // namespace fovea::detail
