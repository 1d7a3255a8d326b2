#include "launch/looking/topic_commands.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <span>

#include <fmt/core.h>
#include <zmq.h>

#include "launch/language/suggest.hpp"
#include "launch/looking/report.hpp"
#include "launch/looking/table.hpp"
#include "msgs/registry.hpp"
#include "msgs/wire.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea::launch {
namespace {

constexpr int kReconnectMs = 20;
constexpr std::int64_t kSecond = 1'000'000'000;

int complain(const Error& error) {
  print_error("fovea topic: {}", error.message);
  return 1;
}

// A subscription to whatever the topic carries.
class RawSubscription {
 public:
  static Result<RawSubscription> create(const Domain& domain, const std::string& topic) {
    FOVEA_TRY(check_topic(topic));
    FOVEA_ASSIGN(const std::string endpoint, domain.topic_endpoint(topic));
    RawSubscription subscription(zmq_socket(zmq_context(), ZMQ_SUB));
    const int linger = 0;
    zmq_setsockopt(subscription.socket(), ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(subscription.socket(), ZMQ_RECONNECT_IVL, &kReconnectMs, sizeof kReconnectMs);
    zmq_setsockopt(subscription.socket(), ZMQ_SUBSCRIBE, "", 0);
    if (zmq_connect(subscription.socket(), endpoint.c_str()) != 0) {
      return fail(ErrorCode::kInternal, fmt::format("{}: {}", endpoint, zmq_strerror(zmq_errno())));
    }
    return subscription;
  }

  void* socket() const { return socket_.get(); }

  // Calls on_message(bytes) for the next message; false when none came within `timeout_ms` (-1:
  // waits).
  bool next(long timeout_ms, const std::function<void(std::span<const std::byte>)>& on_message) {
    zmq_pollitem_t item{socket(), 0, ZMQ_POLLIN, 0};
    if (zmq_poll(&item, 1, timeout_ms) <= 0) return false;
    zmq_msg_t message;
    zmq_msg_init(&message);
    const bool received = zmq_msg_recv(&message, socket(), ZMQ_DONTWAIT) >= 0;
    if (received)
      on_message({static_cast<const std::byte*>(zmq_msg_data(&message)), zmq_msg_size(&message)});
    zmq_msg_close(&message);
    return received;
  }

 private:
  struct Close {
    void operator()(void* socket) const { zmq_close(socket); }
  };
  explicit RawSubscription(void* socket) : socket_(socket) {}
  std::unique_ptr<void, Close> socket_;
};

// Either side of a topic may start first, so a missing one is worth a word, not an error.
void mention_if_absent(const Domain& domain, const std::string& topic) {
  if (domain.topic_alive(topic)) return;
  print_error("nobody publishes `{}` in domain `{}` yet; waiting{}", topic, domain.name(),
              did_you_mean(topic, domain.list_topics()));
}

// Periods between messages since the last report.
class PeriodStatistics {
 public:
  void add(std::int64_t now_ns) {
    if (last_ns_ != 0) {
      const double period = static_cast<double>(now_ns - last_ns_) / 1e9;
      ++count_;
      sum_ += period;
      squares_ += period * period;
      least_ = count_ == 1 ? period : std::min(least_, period);
      most_ = std::max(most_, period);
    }
    last_ns_ = now_ns;
  }
  std::string text() const {
    if (count_ == 0) return "no messages";
    const double n = static_cast<double>(count_);
    const double mean = sum_ / n;
    const double deviation = std::sqrt(std::max(0.0, squares_ / n - mean * mean));
    return fmt::format(
        "average rate: {:.3f}  min: {:.4f}s max: {:.4f}s std dev: {:.5f}s window: {}", 1 / mean,
        least_, most_, deviation, count_);
  }
  void restart_window() {
    const std::int64_t last = last_ns_;
    *this = {};
    last_ns_ = last;
  }

 private:
  std::int64_t last_ns_ = 0;
  std::uint64_t count_ = 0;
  double sum_ = 0;
  double squares_ = 0;
  double least_ = 0;
  double most_ = 0;
};

}  // namespace

std::vector<TopicView> view_topics(const Domain& domain, bool peek_types) {
  std::vector<TopicView> topics;
  for (const std::string& name : domain.list_topics())
    topics.push_back({name, domain.topic_alive(name), ""});
  if (!peek_types) return topics;

  std::vector<std::pair<TopicView*, RawSubscription>> pending;
  for (TopicView& topic : topics) {
    auto subscription = RawSubscription::create(domain, topic.name);
    if (topic.alive && subscription) pending.emplace_back(&topic, std::move(*subscription));
  }
  const std::int64_t deadline = monotonic_ns() + kSecond;
  while (!pending.empty() && monotonic_ns() < deadline) {
    std::vector<zmq_pollitem_t> items;
    for (const auto& entry : pending) items.push_back({entry.second.socket(), 0, ZMQ_POLLIN, 0});
    zmq_poll(items.data(), static_cast<int>(items.size()),
             (deadline - monotonic_ns()) / 1'000'000 + 1);
    std::erase_if(pending, [](auto& entry) {
      return entry.second.next(0, [&](std::span<const std::byte> bytes) {
        const msgs::MessageType* type = msgs::find_message_type(msgs::peek_hash(bytes));
        entry.first->type = type != nullptr ? std::string(type->name) : "unknown";
      });
    });
  }
  return topics;
}

int topic_list(const Domain& domain, bool show_types, bool json) {
  const std::vector<TopicView> topics = view_topics(domain, show_types);
  if (json) {
    print_out("{}", topics_json(topics));
    return 0;
  }
  for (const std::string& line : topic_table(topics)) print_out("{}\n", line);
  return 0;
}

int topic_echo(const Domain& domain, const std::string& topic, std::uint64_t count) {
  auto subscription = RawSubscription::create(domain, topic);
  if (!subscription) return complain(subscription.error());
  mention_if_absent(domain, topic);
  for (std::uint64_t shown = 0; stdout_takes() && (count == 0 || shown < count);) {
    subscription->next(-1, [&](std::span<const std::byte> bytes) {
      const std::uint64_t hash = msgs::peek_hash(bytes);
      const msgs::MessageType* type = msgs::find_message_type(hash);
      const auto text = type != nullptr ? type->to_json(bytes) : std::nullopt;
      if (text) {
        print_out("{}\n", *text);
      } else {
        print_error("fovea topic: {} bytes with layout {:016x} are no message this build knows",
                    bytes.size(), hash);
      }
      ++shown;
    });
  }
  return 0;
}

int topic_hz(const Domain& domain, const std::string& topic, std::uint64_t count) {
  auto subscription = RawSubscription::create(domain, topic);
  if (!subscription) return complain(subscription.error());
  mention_if_absent(domain, topic);
  PeriodStatistics window;
  PeriodStatistics total;
  std::int64_t next_report = monotonic_ns() + kSecond;
  std::uint64_t received = 0;
  while (stdout_takes() && (count == 0 || received < count)) {
    const std::int64_t left_ms =
        std::max<std::int64_t>((next_report - monotonic_ns()) / 1'000'000, 0);
    subscription->next(left_ms, [&](std::span<const std::byte>) {
      const std::int64_t now = monotonic_ns();
      window.add(now);
      total.add(now);
      ++received;
    });
    if (monotonic_ns() < next_report || count != 0) continue;
    print_out("{}\n", window.text());
    window.restart_window();
    next_report += kSecond;
  }
  if (count != 0) print_out("{}\n", total.text());
  return 0;
}

}  // namespace fovea::launch
