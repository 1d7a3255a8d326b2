// What the tests of topics share: a domain, publishers and subscriptions of one topic, numbered
// images.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "msgs/image.hpp"
#include "msgs/node_status.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/topics/pubsub.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea::test {

using msgs::Image;
using msgs::NodeStatus;

inline constexpr std::string_view kTopic = "cam0/image";
inline constexpr std::size_t kBytes = 5000;

inline PoolOptions slots(std::uint32_t count, std::uint32_t retained = 1) {
  PoolOptions options;
  options.slot_count = count;
  options.retained_depth = retained;
  return options;
}

inline QoS depth(std::uint32_t n) { return {n, Reliability::kBestEffort, Durability::kVolatile}; }
inline QoS reliable(std::uint32_t n) { return {n, Reliability::kReliable, Durability::kVolatile}; }
inline constexpr QoS kTransientLocal{1, Reliability::kBestEffort, Durability::kTransientLocal};

class Topics : public testing::Test {
 protected:
  ~Topics() override { unsetenv("FOVEA_WAKE_UP"); }  // the next test has its own choice

  template <class M = Image>
  Publisher<M> publisher(const QoS& qos = {}, const PoolOptions& pool = {},
                         StageLedger* ledger = nullptr) {
    auto created = Publisher<M>::create(*domain_, kTopic, qos, pool, ledger);
    EXPECT_TRUE(created) << created.error().message;
    return std::move(*created);
  }
  template <class M = Image>
  Subscription<M> subscription(const QoS& qos = {}, StageLedger* ledger = nullptr) {
    auto created = Subscription<M>::create(*domain_, kTopic, qos, ledger);
    EXPECT_TRUE(created) << created.error().message;
    return std::move(*created);
  }

  // Publishes an image numbered `seq` whose bytes are all `seq`.
  static bool publish(Publisher<Image>& images, std::uint64_t seq, std::size_t bytes = kBytes) {
    auto buffer = images.loan(bytes);
    if (!buffer) return false;
    std::memset(buffer->data().data(), static_cast<int>(seq & 0xff), bytes);
    Image image;
    image.header.seq = seq;
    images.publish(image, std::move(*buffer), bytes);
    return true;
  }
  static void expect_intact(const Received<Image>& received, std::size_t bytes = kBytes) {
    ASSERT_EQ(received.buffer.data().size(), bytes);
    const auto expected = static_cast<std::byte>(received.message.header.seq & 0xff);
    EXPECT_EQ(received.buffer.data().front(), expected);
    EXPECT_EQ(received.buffer.data().back(), expected);
  }
  // Waits for the next message.
  template <class M>
  static std::optional<Received<M>> next(Subscription<M>& subscription) {
    std::optional<Received<M>> received;
    eventually([&] {
      subscription.drain();
      received = subscription.take();
      return received.has_value();
    });
    return received;
  }
  template <class M>
  static bool joined(Publisher<M>& publisher, int count = 1) {
    return eventually([&] { return publisher.subscription_count() == count; });
  }
  // The same for a subscription that lost its publisher: it subscribes anew when its socket is
  // served.
  template <class M>
  static bool rejoined(Publisher<M>& publisher, Subscription<M>& subscription) {
    return eventually([&] {
      subscription.drain();
      return publisher.subscription_count() == 1;
    });
  }

  TestDomain domain_;
};

// The same with messages at the subscriptions' doorbells and through ZeroMQ.
inline constexpr const char* kDoorbell = "doorbell";
inline constexpr const char* kZmq = "zmq";

inline void use_wake_up(const char* wake_up) { setenv("FOVEA_WAKE_UP", wake_up, 1); }

class TopicsBothWays : public Topics, public testing::WithParamInterface<const char*> {
 protected:
  TopicsBothWays() { use_wake_up(GetParam()); }
  static bool at_doorbell() { return std::string_view(GetParam()) == kDoorbell; }
};

inline const auto kBothWays = testing::Values(kDoorbell, kZmq);
inline const auto kWakeUpName = [](const testing::TestParamInfo<const char*>& info) {
  return std::string(info.param);
};

// A counter page of its own, as a node has.
struct TestLedger {
  TestLedger(const Domain& domain, std::string_view node)
      : page(std::move(*MetricsPage::create(domain, node, "test"))), ledger(*page, "cam0") {}
  std::uint64_t sum() const {
    std::uint64_t total = ledger.out() + ledger.in_process();
    for (std::size_t i = 0; i < kDropReasons; ++i)
      total += ledger.drops(static_cast<DropReason>(i));
    return total;
  }
  std::unique_ptr<MetricsPage> page;
  StageLedger ledger;
};

}  // namespace fovea::test
