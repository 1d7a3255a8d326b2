// Peers that send anything at all: never a crash, never a wrong message, always counted.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "nodes/runtime/topics/zmq_socket.hpp"
#include "tests/runtime/topics_fixture.hpp"

namespace fovea::test {
namespace {

using testing::HasSubstr;

FileHandle packet_socket() { return FileHandle(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }

sockaddr_un address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

// A connection to a subscription's doorbell.
FileHandle ring(const std::filesystem::path& path) {
  FileHandle line = packet_socket();
  const sockaddr_un address = address_of(path);
  EXPECT_EQ(connect(line.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
      << path << ": " << std::strerror(errno);
  return line;
}

// The socket files of the domain's subscriptions.
std::vector<std::filesystem::path> doorbells(const Domain& domain) {
  std::vector<std::filesystem::path> paths;
  for (const auto& file : std::filesystem::directory_iterator(domain.socket_directory())) {
    if (file.path().extension() == ".doorbell") paths.push_back(file.path());
  }
  return paths;
}

class HostilePeers : public TopicsBothWays {
 protected:
  // A bare publisher socket in the topic's place, which rings where it is asked to.
  HostilePeers() : socket_(zmq_socket(zmq_context(), ZMQ_XPUB)) {
    const int linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
    EXPECT_EQ(zmq_bind(socket_, domain_->topic_endpoint(kTopic)->c_str()), 0);
  }
  ~HostilePeers() override { zmq_close(socket_); }

  void wait_for_subscriber() {
    char event[64];
    const int size = zmq_recv(socket_, event, sizeof event, 0);
    ASSERT_GT(size, 0);
    if (!at_doorbell()) return;
    detail::SubscriptionRequest request;
    ASSERT_EQ(static_cast<std::size_t>(size), 1 + sizeof request);
    std::memcpy(static_cast<void*>(&request), event + 1, sizeof request);
    line_ = ring(domain_->doorbell_path(request.doorbell_id));
  }
  void send(std::span<const std::byte> bytes) {
    const auto size = static_cast<int>(bytes.size());
    if (at_doorbell()) {
      ASSERT_EQ(::send(line_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), size);
    } else {
      ASSERT_EQ(zmq_send(socket_, bytes.data(), bytes.size(), 0), size);
    }
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
  FileHandle line_;
};
INSTANTIATE_TEST_SUITE_P(Topics, HostilePeers, kBothWays, kWakeUpName);

TEST_P(HostilePeers, RandomBytesAreRefused) {
  auto sub = subscription();
  wait_for_subscriber();
  std::mt19937 random(1);
  std::uint64_t sent = 0;
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{8},
                           std::size_t{9}, msgs::kMaxWireSize<Image> - 1, msgs::kMaxWireSize<Image>,
                           msgs::kMaxWireSize<Image> + 1, std::size_t{100000}}) {
    if (size == 0 && at_doorbell()) continue;  // no packet, but the end of the line
    for (bool right_hash : {false, true}) {
      std::vector<std::byte> bytes(size);
      for (std::byte& b : bytes) b = static_cast<std::byte>(random());
      if (right_hash && size >= 8) std::memcpy(bytes.data(), &msgs::kLayoutHash<Image>, 8);
      send(bytes);
      ++sent;
    }
  }
  EXPECT_TRUE(refused(sub, sent));
  EXPECT_EQ(sub.refused(), sent);
}

TEST_P(HostilePeers, RandomMessagesOfTheRightSizeNeverCrash) {
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
    image.header.stages.count %= msgs::StageStamps::kCapacity + 1;  // more is refused, see above
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

TEST_P(HostilePeers, AnotherLayoutIsRefusedAndReportedOnceWithBothNames) {
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

TEST_P(HostilePeers, AMessageFarBeyondAnyOfOursIsRefusedAndTheNextOneRead) {
  auto sub = subscription<NodeStatus>();
  wait_for_subscriber();
  std::vector<std::byte> huge(at_doorbell() ? 100'000 : 20'000'000);
  std::memcpy(huge.data(), &msgs::kLayoutHash<NodeStatus>, 8);
  send(huge);
  NodeStatus status;
  status.header.topic_seq = 1;
  send_message(status);
  EXPECT_TRUE(next(sub));
  EXPECT_EQ(sub.refused(), 1u);
}

TEST_P(HostilePeers, MultipartMessagesAreJudgedPartByPart) {
  if (at_doorbell()) GTEST_SKIP() << "packets have one part";
  auto sub = subscription();
  wait_for_subscriber();
  ASSERT_EQ(zmq_send(socket_, "head", 4, ZMQ_SNDMORE), 4);
  ASSERT_EQ(zmq_send(socket_, "tail", 4, 0), 4);
  EXPECT_TRUE(refused(sub, 2));
}

TEST_P(HostilePeers, ARepeatIsRefused) {
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
    if (i % 5 == 0) bytes.resize(1 + sizeof(detail::SubscriptionRequest));
    if (!bytes.empty() && i % 2 == 0) bytes[0] = static_cast<char>(i / 2 % 2);
    if (i % 3 == 0 && bytes.size() > 17) std::memcpy(bytes.data() + 1, "fovea.request.1", 16);
    zmq_send(raw, bytes.data(), bytes.size(), 0);
  }
  ASSERT_EQ(zmq_send(raw, "\1", 1, 0), 1);
  ASSERT_TRUE(eventually([&] { return images.subscription_count() >= 1; }));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) EXPECT_TRUE(publish(images, seq));
  zmq_close(raw);
}

// A subscriber that speaks ZeroMQ's protocol by hand, so that nothing bounds what it sends and none
// of its memory is this process's.
class HandMadeSubscriber {
 public:
  explicit HandMadeSubscriber(const std::string& endpoint) {
    const sockaddr_un address = address_of(endpoint.substr(std::string_view("ipc://").size()));
    EXPECT_EQ(connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    std::string greeting(64, '\0');
    greeting[0] = '\xff';
    greeting[9] = '\x7f';
    greeting[10] = 3;
    greeting.replace(12, 4, "NULL");
    const std::string ready("\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB", 2 + 25);
    EXPECT_TRUE(send_all(greeting + ready));
    // Messages before the publisher's own READY would be an error of the protocol.
    std::string answer;
    while (answer.find("READY") == std::string::npos) {
      char byte = 0;
      if (recv(socket_.get(), &byte, 1, 0) != 1) break;
      answer += byte;
    }
    EXPECT_GT(answer.size(), greeting.size());
  }
  // False once the publisher has closed the connection.
  bool subscribe(const std::string& topic) {
    std::string header = topic.size() < 255 ? std::string(2, '\0') : std::string(9, '\0');
    std::size_t length = 1 + topic.size();
    header[0] = topic.size() < 255 ? 0 : 2;
    for (std::size_t i = header.size() - 1; i > 0; --i, length >>= 8) {
      header[i] = static_cast<char>(length & 0xff);
    }
    return send_all(header + '\1') && send_all(topic);
  }

 private:
  bool send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  FileHandle socket_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t pages = 0;
  statm >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

TEST_F(Topics, ASubscriptionOfAnySizeTakesNoMemory) {
  auto images = publisher({}, slots(4));
  auto sub = subscription();
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  const std::string topic(20'000'000, 'x');
  const std::int64_t before = resident_bytes();
  for (int i = 0; i < 5; ++i) {
    HandMadeSubscriber hostile(*domain_->topic_endpoint(kTopic));
    EXPECT_FALSE(hostile.subscribe(topic)) << "the publisher took it";
    images.subscription_count();
  }
  EXPECT_LT(resident_bytes() - before, 8'000'000);
  ASSERT_TRUE(publish(images, 2));
  EXPECT_TRUE(next(sub));
}

TEST_F(Topics, APeerWithMoreSubscriptionsThanAnybodyNeedsIsDisconnectedAndOthersAreNot) {
  auto images = publisher({}, slots(4));
  auto sub = subscription();
  ASSERT_TRUE(joined(images));
  HandMadeSubscriber modest(*domain_->topic_endpoint(kTopic));
  ASSERT_TRUE(modest.subscribe(""));
  ASSERT_TRUE(eventually([&] { return images.subscription_count() == 2; }));
  [[maybe_unused]] const std::int64_t before = resident_bytes();
  for (int round = 0; round < 3; ++round) {
    HandMadeSubscriber hostile(*domain_->topic_endpoint(kTopic));
    std::mt19937 random(5);
    ASSERT_TRUE(eventually([&] {
      std::string topic(100, 'x');
      for (char& c : topic) c = static_cast<char>(random());
      const bool connected = hostile.subscribe(topic);
      images.subscription_count();  // more is not taken from a peer before it is served
      return !connected;
    }));
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they keep what is freed
  EXPECT_LT(resident_bytes() - before, 16'000'000);
#endif
  EXPECT_EQ(images.subscription_count(), 2);
  ASSERT_TRUE(publish(images, 1));
  EXPECT_TRUE(next(sub));
}

TEST_F(Topics, APeerMaySubscribeAndUnsubscribeForEver) {
  auto images = publisher({}, slots(4));
  void* raw = zmq_socket(zmq_context(), ZMQ_XSUB);
  const int linger = 0;
  zmq_setsockopt(raw, ZMQ_LINGER, &linger, sizeof linger);
  ASSERT_EQ(zmq_connect(raw, domain_->topic_endpoint(kTopic)->c_str()), 0);
  testing::internal::CaptureStderr();
  for (int i = 0; i < detail::kMaxSubscriptionsOfAPeer + 20; ++i) {
    ASSERT_EQ(zmq_send(raw, "\1", 1, 0), 1);
    ASSERT_TRUE(eventually([&] { return images.subscription_count() == 1; }));
    ASSERT_EQ(zmq_send(raw, "\0", 1, 0), 1);
    ASSERT_TRUE(eventually([&] { return images.subscription_count() == 0; }));
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  zmq_close(raw);
}

// ---- doorbells

TEST_F(Topics, StrangersAtTheDoorbellAreJudgedLikeAnyoneAndDisturbNobody) {
  auto images = publisher({}, slots(4));
  auto sub = subscription();
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  ASSERT_TRUE(next(sub));
  ASSERT_EQ(doorbells(*domain_).size(), 1u);
  std::vector<FileHandle> strangers;
  std::mt19937 random(4);
  std::array<char, 200> noise{};
  for (int i = 0; i < 12; ++i) {
    strangers.push_back(ring(doorbells(*domain_).front()));
    for (char& c : noise) c = static_cast<char>(random());
    // Those that are one too many find their line closed.
    send(strangers.back().get(), noise.data(), noise.size(), MSG_NOSIGNAL);
    sub.drain();
  }
  EXPECT_TRUE(eventually([&] {
    sub.drain();
    return sub.refused() >= 3;
  }));
  for (std::uint64_t seq = 2; seq <= 20; ++seq) {
    ASSERT_TRUE(publish(images, seq));
    const auto received = next(sub);
    ASSERT_TRUE(received);
    ASSERT_EQ(received->message.header.seq, seq);
    expect_intact(*received);
    if (seq == 10) strangers.clear();
  }
}

TEST_F(Topics, WhatAPublisherSentBeforeItWentAwayStillArrivesAndFirst) {
  auto sub = subscription<NodeStatus>(depth(8));
  NodeStatus status;
  {
    auto statuses = publisher<NodeStatus>();
    ASSERT_TRUE(joined(statuses));
    for (std::uint32_t pid : {1u, 2u, 3u}) {
      status.pid = pid;
      statuses.publish(status);
    }
  }
  auto statuses = publisher<NodeStatus>();
  ASSERT_TRUE(rejoined(statuses, sub));
  status.pid = 4;
  statuses.publish(status);
  for (std::uint32_t pid : {1u, 2u, 3u, 4u}) {
    const auto received = next(sub);
    ASSERT_TRUE(received);
    EXPECT_EQ(received->message.pid, pid);
  }
}

TEST_F(Topics, DoorbellsArePrivateAndGoWithTheirSubscription) {
  {
    auto sub = subscription();
    const auto paths = doorbells(*domain_);
    ASSERT_EQ(paths.size(), 1u);
    struct stat status {};
    ASSERT_EQ(lstat(paths.front().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFSOCK | 0600));
    domain_->sweep();
    EXPECT_EQ(doorbells(*domain_).size(), 1u) << "sweep() took a live one";
  }
  EXPECT_TRUE(doorbells(*domain_).empty());
}

class DeadSubscriber : public Topics {
 protected:
  // Asks for messages at a doorbell that it leaves behind as a killed process does.
  DeadSubscriber() : path_(domain_->doorbell_path(kId)) {
    const sockaddr_un address = address_of(path_);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(listen(listener_.get(), 4), 0);
    const int linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
    detail::SubscriptionRequest request;
    request.layout_hash = msgs::kLayoutHash<Image>;
    request.doorbell_id = kId;
    zmq_setsockopt(socket_, ZMQ_SUBSCRIBE, &request, sizeof request);
    EXPECT_EQ(zmq_connect(socket_, domain_->topic_endpoint(kTopic)->c_str()), 0);
  }
  ~DeadSubscriber() override { disconnect(); }
  void disconnect() {
    if (socket_ != nullptr) zmq_close(std::exchange(socket_, nullptr));
  }
  static constexpr std::uint64_t kId = 7;
  const std::filesystem::path path_;
  FileHandle listener_ = packet_socket();
  void* socket_ = zmq_socket(zmq_context(), ZMQ_SUB);
};

TEST_F(DeadSubscriber, LeavesNoSocketFileBehindOnceItsPublisherKnows) {
  auto images = publisher();
  ASSERT_TRUE(joined(images));
  listener_ = FileHandle();
  ASSERT_TRUE(publish(images, 1));
  EXPECT_EQ(images.subscription_count(), 0) << "its line is dead";
  EXPECT_TRUE(std::filesystem::exists(path_));
  disconnect();
  EXPECT_TRUE(eventually([&] {
    images.subscription_count();
    return !std::filesystem::exists(path_);
  }));
}

TEST_F(DeadSubscriber, LeavesNoSocketFileBehindAfterASweep) {
  listener_ = FileHandle();
  EXPECT_TRUE(std::filesystem::exists(path_));
  domain_->sweep();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(DeadSubscriber, IsNotWaitedForByAReliablePublisher) {
  auto statuses = publisher<NodeStatus>(reliable(1));
  ASSERT_TRUE(joined(statuses));
  listener_ = FileHandle();
  NodeStatus status;
  for (int i = 0; i < 5000; ++i) statuses.publish(status);
  EXPECT_EQ(statuses.subscription_count(), 0);
}

}  // namespace
}  // namespace fovea::test
