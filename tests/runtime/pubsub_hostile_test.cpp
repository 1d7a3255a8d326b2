// Peers that send anything at all: never a crash, never a wrong message, always counted.
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zmq.h>

#include "tests/runtime/topics_fixture.hpp"

namespace fovea::test {
namespace {

using testing::HasSubstr;

class HostilePeers : public Topics {
 protected:
  // A bare publisher socket in the topic's place.
  HostilePeers() : socket_(zmq_socket(zmq_context(), ZMQ_XPUB)) {
    const int linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
    EXPECT_EQ(zmq_bind(socket_, domain_->topic_endpoint(kTopic)->c_str()), 0);
  }
  ~HostilePeers() override { zmq_close(socket_); }

  void wait_for_subscriber() {
    char event[64];
    ASSERT_GT(zmq_recv(socket_, event, sizeof event, 0), 0);
  }
  void send(std::span<const std::byte> bytes) {
    ASSERT_EQ(zmq_send(socket_, bytes.data(), bytes.size(), 0), static_cast<int>(bytes.size()));
  }
  template <class M>
  void send_message(const M& message) {
    std::vector<std::byte> wire(msgs::kMaxWireSize<M>);
    wire.resize(msgs::encode(message, wire));
    send(wire);
  }
  template <class M>
  static bool refused(Subscription<M>& sub, std::uint64_t count) {
    return eventually([&] {
      sub.drain();
      while (sub.take()) {
      }
      return sub.refused() >= count;
    });
  }
  void* socket_;
};

TEST_F(HostilePeers, RandomBytesAreRefused) {
  auto sub = subscription();
  wait_for_subscriber();
  std::mt19937 random(1);
  std::uint64_t sent = 0;
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8},
                           std::size_t{9}, msgs::kMaxWireSize<Image> - 1, msgs::kMaxWireSize<Image>,
                           msgs::kMaxWireSize<Image> + 1, std::size_t{100000}}) {
    for (bool right_hash : {false, true}) {
      std::vector<std::byte> bytes(size);
      for (std::byte& b : bytes) b = static_cast<std::byte>(random());
      if (right_hash && size >= 8) std::memcpy(bytes.data(), &msgs::kLayoutHash<Image>, 8);
      // Right hash and right size is a message, with a BufferRef of random numbers.
      if (right_hash && size == msgs::kMaxWireSize<Image>) continue;
      send(bytes);
      ++sent;
    }
  }
  EXPECT_TRUE(refused(sub, sent));
  EXPECT_EQ(sub.refused(), sent);
}

TEST_F(HostilePeers, RandomMessagesOfTheRightSizeNeverCrash) {
  TestLedger in(*domain_, "sub");
  const auto pool = BufferPool::create(*domain_, kTopic, [] {
    PoolOptions options;
    options.slot_bytes = kBytes;
    return options;
  }());
  ASSERT_TRUE(pool);
  auto sub = subscription(depth(4), &in.ledger);
  wait_for_subscriber();
  std::mt19937_64 random(2);
  std::uint64_t delivered = 0;
  for (int i = 0; i < 300; ++i) {
    Image image;
    auto* words = reinterpret_cast<std::uint64_t*>(&image);
    for (std::size_t w = 0; w < sizeof image / 8; ++w) words[w] = random();
    image.header.topic_seq = static_cast<std::uint64_t>(i) + 1;
    // Every other one names the pool that exists.
    if (i % 2 == 0) image.data.incarnation = (*pool)->incarnation();
    if (i % 4 == 0) image.data.slot = static_cast<std::uint32_t>(random() % 6);
    if (i % 8 == 0) image.data.generation = static_cast<std::uint32_t>(random() % 2);
    if (i % 16 == 0) image.data.bytes = random() % (2 * kBytes);
    send_message(image);
    if (i % 50 == 49) {
      ASSERT_TRUE(eventually([&] {
        sub.drain();
        while (sub.take()) ++delivered;
        return in.ledger.in() == static_cast<std::uint64_t>(i) + 1;
      }));
    }
  }
  EXPECT_EQ(in.ledger.in(), 300u);
  EXPECT_EQ(in.ledger.in_process(), delivered);
  EXPECT_EQ(in.ledger.in(), in.sum());
}

TEST_F(HostilePeers, AnotherLayoutIsRefusedAndReportedOnceWithBothNames) {
  auto sub = subscription();
  wait_for_subscriber();
  testing::internal::CaptureStderr();
  for (int i = 0; i < 5; ++i) send_message(NodeStatus{});
  EXPECT_TRUE(refused(sub, 5));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("NodeStatus"));
  EXPECT_THAT(log, HasSubstr("Image"));
  EXPECT_THAT(log, HasSubstr(fmt::format("{:016x}", msgs::kLayoutHash<NodeStatus>)));
  EXPECT_THAT(log, HasSubstr(fmt::format("{:016x}", msgs::kLayoutHash<Image>)));
  const std::size_t first = log.find("refused a message");
  EXPECT_EQ(log.find("refused a message", first + 1), std::string::npos)
      << "reported more than once";
}

TEST_F(HostilePeers, AMessageFarBeyondAnyOfOursIsRefusedAndTheNextOneRead) {
  auto sub = subscription<NodeStatus>();
  wait_for_subscriber();
  std::vector<std::byte> huge(std::size_t{20} << 20);
  std::memcpy(huge.data(), &msgs::kLayoutHash<NodeStatus>, 8);
  send(huge);
  NodeStatus status;
  status.header.topic_seq = 1;
  send_message(status);
  EXPECT_TRUE(next(sub));
  EXPECT_EQ(sub.refused(), 1u);
}

TEST_F(HostilePeers, MultipartMessagesAreJudgedPartByPart) {
  auto sub = subscription();
  wait_for_subscriber();
  ASSERT_EQ(zmq_send(socket_, "head", 4, ZMQ_SNDMORE), 4);
  ASSERT_EQ(zmq_send(socket_, "tail", 4, 0), 4);
  EXPECT_TRUE(refused(sub, 2));
}

TEST_F(HostilePeers, ARepeatIsRefused) {
  auto sub = subscription<NodeStatus>(depth(8));
  wait_for_subscriber();
  NodeStatus status;
  status.header.topic_seq = 5;
  send_message(status);
  send_message(status);
  status.header.topic_seq = 0;
  send_message(status);
  std::size_t taken = 0;
  EXPECT_TRUE(eventually([&] {
    sub.drain();
    while (sub.take()) ++taken;
    return sub.refused() == 2;
  }));
  EXPECT_EQ(taken, 1u);
}

TEST_F(Topics, SubscribersThatSendAnythingDoNotDisturbThePublisher) {
  auto images = publisher(reliable(1), slots(2));
  void* raw = zmq_socket(zmq_context(), ZMQ_XSUB);
  const int linger = 0;
  zmq_setsockopt(raw, ZMQ_LINGER, &linger, sizeof linger);
  ASSERT_EQ(zmq_connect(raw, domain_->topic_endpoint(kTopic)->c_str()), 0);
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    std::vector<char> bytes(random() % 100);
    for (char& b : bytes) b = static_cast<char>(random());
    if (!bytes.empty() && i % 2 == 0) bytes[0] = static_cast<char>(i / 2 % 2);
    if (i % 3 == 0 && bytes.size() > 17) std::memcpy(bytes.data() + 1, "fovea.reliable.1", 16);
    zmq_send(raw, bytes.data(), bytes.size(), 0);
  }
  ASSERT_EQ(zmq_send(raw, "\1", 1, 0), 1);
  ASSERT_TRUE(eventually([&] { return images.subscription_count() >= 1; }));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) EXPECT_TRUE(publish(images, seq));
  zmq_close(raw);
}

}  // namespace
}  // namespace fovea::test
