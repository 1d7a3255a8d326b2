// Topics within one process: delivery, queues, ledgers, reliability and what it all costs.
#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zmq.h>

#include "tests/runtime/topics_fixture.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(Topics, DeliverPayloadsToASubscriberThatStartsLater) {
  auto images = publisher();
  auto sub = subscription();
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  const auto received = next(sub);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->message.header.seq, 1u);
  EXPECT_EQ(received->message.header.topic_seq, 1u);
  expect_intact(*received);
}

TEST_F(Topics, DeliverPayloadsToASubscriberThatStartsFirst) {
  auto sub = subscription();
  auto images = publisher();
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  const auto received = next(sub);
  ASSERT_TRUE(received);
  expect_intact(*received);
}

TEST_F(Topics, CountSubscriptionsThatComeAndGo) {
  auto images = publisher();
  EXPECT_EQ(images.subscription_count(), 0);
  {
    auto first = subscription();
    auto second = subscription();
    auto third = subscription(reliable(1));
    EXPECT_TRUE(joined(images, 3));
  }
  EXPECT_TRUE(joined(images, 0));
}

TEST_F(Topics, DeliverToEverySubscriber) {
  auto images = publisher({}, slots(8));
  auto first = subscription();
  auto second = subscription();
  ASSERT_TRUE(joined(images, 2));
  for (std::uint64_t seq = 1; seq <= 20; ++seq) {
    ASSERT_TRUE(publish(images, seq));
    for (auto* sub : {&first, &second}) {
      const auto received = next(*sub);
      ASSERT_TRUE(received);
      EXPECT_EQ(received->message.header.seq, seq);
      expect_intact(*received);
    }
  }
}

TEST_F(Topics, KeepTheNewestAndCountTheRestAsSuperseded) {
  TestLedger out(*domain_, "cam"), in(*domain_, "sub");
  auto images = publisher({}, slots(16, 8), &out.ledger);
  auto sub = subscription(depth(3), &in.ledger);
  ASSERT_TRUE(joined(images));
  for (std::uint64_t seq = 1; seq <= 8; ++seq) {
    out.ledger.capture();
    ASSERT_TRUE(publish(images, seq));
  }
  ASSERT_TRUE(eventually([&] {
    sub.drain();
    return in.ledger.in() == 8;
  }));
  for (std::uint64_t seq = 6; seq <= 8; ++seq) {
    const auto received = sub.take();
    ASSERT_TRUE(received);
    EXPECT_EQ(received->message.header.seq, seq);
    expect_intact(*received);
  }
  EXPECT_FALSE(sub.take());
  EXPECT_EQ(in.ledger.drops(DropReason::kSuperseded), 5u);
  EXPECT_EQ(in.ledger.in(), in.sum());
  EXPECT_EQ(in.ledger.in_process(), 3u) << "what take() returned is the caller's";
  EXPECT_EQ(out.ledger.out(), 8u);
}

TEST_F(Topics, AQueuedMessageDoesNotExpireWhileItWaits) {
  auto images = publisher({}, slots(4));
  auto sub = subscription();
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  std::optional<Received<Image>> none;
  // Drained, but not taken: the payload is held from here on.
  zmq_pollitem_t item{sub.socket(), 0, ZMQ_POLLIN, 0};
  ASSERT_EQ(zmq_poll(&item, 1, 20000), 1);
  sub.drain();
  for (std::uint64_t seq = 2; seq <= 50; ++seq) ASSERT_TRUE(publish(images, seq));
  const auto received = sub.take();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->message.header.seq, 1u);
  expect_intact(*received);
}

TEST_F(Topics, MessagesWhoseSlotsWereRecycledAreCountedAsExpired) {
  TestLedger in(*domain_, "sub");
  auto images = publisher({}, slots(2));
  auto sub = subscription(depth(30), &in.ledger);
  ASSERT_TRUE(joined(images));
  for (std::uint64_t seq = 1; seq <= 20; ++seq) ASSERT_TRUE(publish(images, seq));
  std::vector<std::uint64_t> seen;
  ASSERT_TRUE(eventually([&] {
    sub.drain();
    while (auto received = sub.take()) seen.push_back(received->message.header.seq);
    return in.ledger.in() == 20;
  }));
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back(), 20u);
  EXPECT_GT(in.ledger.drops(DropReason::kExpired), 0u);
  EXPECT_EQ(seen.size() + in.ledger.drops(DropReason::kExpired), 20u);
  EXPECT_EQ(in.ledger.in(), in.sum());
}

TEST_F(Topics, AnExhaustedPoolIsCountedOncePerLoan) {
  TestLedger out(*domain_, "cam");
  auto images = publisher({}, slots(2), &out.ledger);
  auto first = images.loan(kBytes);
  auto second = images.loan(kBytes);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(images.loan(kBytes));
  EXPECT_FALSE(images.loan(kBytes));
  EXPECT_EQ(out.ledger.drops(DropReason::kPoolExhausted), 2u);
}

TEST_F(Topics, LargerFramesGetANewPoolAndReadersFollow) {
  auto images = publisher();
  auto sub = subscription();
  ASSERT_TRUE(joined(images));
  std::vector<Received<Image>> kept;  // buffers of the old pools stay readable
  for (std::size_t bytes :
       {std::size_t{1000}, std::size_t{9000}, std::size_t{90000}, std::size_t{500}}) {
    ASSERT_TRUE(publish(images, bytes % 251, bytes));
    auto received = next(sub);
    ASSERT_TRUE(received);
    expect_intact(*received, bytes);
    kept.push_back(std::move(*received));
    EXPECT_THAT(domain_->list_pools(kTopic), SizeIs(1));
  }
  expect_intact(kept[0], 1000);
}

TEST_F(Topics, AFullSharedMemoryIsADropAndNotACrash) {
  TestLedger out(*domain_, "cam");
  setenv("FOVEA_SHM_DIR", "/dev/shm", 1);
  const auto domain = Domain::open("test-full-shm");
  ASSERT_TRUE(domain);
  auto images = Publisher<Image>::create(*domain, kTopic, {}, slots(4), &out.ledger);
  ASSERT_TRUE(images);
  EXPECT_FALSE(images->loan(std::size_t{1} << 40));
  EXPECT_EQ(out.ledger.drops(DropReason::kPoolExhausted), 1u);
}

TEST_F(Topics, ASecondPublisherIsRefusedByName) {
  auto first = publisher();
  const auto second = Publisher<Image>::create(*domain_, kTopic);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr("topic cam0/image"));
  auto sub = subscription();
  ASSERT_TRUE(joined(first));
  ASSERT_TRUE(publish(first, 1));
  EXPECT_TRUE(next(sub)) << "the first one still has its socket";
}

TEST_F(Topics, APublisherThatComesBackIsFoundAgain) {
  auto sub = subscription();
  for (std::uint64_t life = 1; life <= 5; ++life) {
    auto images = publisher();
    ASSERT_TRUE(rejoined(images, sub));
    ASSERT_TRUE(publish(images, life));
    const auto received = next(sub);
    ASSERT_TRUE(received);
    EXPECT_EQ(received->message.header.seq, life);
    EXPECT_EQ(received->message.header.topic_seq, 1u) << "numbers start again without a ledger";
  }
  EXPECT_THAT(domain_->list_topics(), IsEmpty());
  EXPECT_THAT(domain_->list_pools(kTopic), IsEmpty());
}

TEST_F(Topics, ALostMessageIsAGapInTheLedger) {
  TestLedger out(*domain_, "cam"), in(*domain_, "sub");
  auto images = publisher({}, slots(8), &out.ledger);
  for (std::uint64_t seq = 1; seq <= 3; ++seq)
    ASSERT_TRUE(publish(images, seq));  // nobody listens yet
  auto sub = subscription({}, &in.ledger);
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 4));
  ASSERT_TRUE(next(sub));
  EXPECT_EQ(in.ledger.in(), 4u);
  EXPECT_EQ(in.ledger.drops(DropReason::kLost), 3u);
}

// ---- transient local

TEST_F(Topics, ALateSubscriberGetsTheLastTransientLocalMessageOnce) {
  auto statuses = publisher<NodeStatus>(kTransientLocal);
  auto early = subscription<NodeStatus>(depth(8));
  ASSERT_TRUE(joined(statuses));
  NodeStatus status;
  for (std::uint32_t pid : {1u, 2u, 3u}) {
    status.pid = pid;
    statuses.publish(status);
    const auto received = next(early);
    ASSERT_TRUE(received);
    EXPECT_EQ(received->message.pid, pid);
  }
  auto late = subscription<NodeStatus>(depth(8));
  ASSERT_TRUE(joined(statuses, 2));
  const auto received = next(late);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->message.pid, 3u);
  // The early one is sent it too, and ignores what it has.
  ASSERT_TRUE(eventually([&] {
    early.drain();
    return early.refused() == 1;
  }));
  EXPECT_FALSE(early.take());
  EXPECT_FALSE(late.take());
}

TEST_F(Topics, TheFirstMessageOfARestartedPublisherIsNoRepeat) {
  auto sub = subscription<NodeStatus>();
  NodeStatus status;
  for (std::uint32_t pid : {1u, 2u, 3u}) {
    auto statuses = publisher<NodeStatus>(kTransientLocal);
    status.pid = pid;
    statuses.publish(status);  // number 1 every time
    std::optional<Received<NodeStatus>> received;
    ASSERT_TRUE(eventually([&] {
      statuses.subscription_count();  // serves the late subscriber
      sub.drain();
      received = sub.take();
      return received.has_value();
    }));
    EXPECT_EQ(received->message.pid, pid);
  }
}

TEST_F(Topics, TransientLocalPayloadsAreRefused) {
  const auto images = Publisher<Image>::create(*domain_, kTopic, kTransientLocal);
  ASSERT_FALSE(images);
  EXPECT_EQ(images.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(Topics, QosAndPoolsOutOfRangeAreRefused) {
  EXPECT_FALSE(Subscription<Image>::create(*domain_, kTopic, depth(0)));
  EXPECT_FALSE(Publisher<Image>::create(*domain_, kTopic, {}, slots(0)));
  EXPECT_FALSE(Publisher<Image>::create(*domain_, "no/../way"));
}

// ---- reliable

TEST_F(Topics, ReliableDeliveryLosesNothingToASlowReader) {
  constexpr std::uint64_t kFrames = 400;
  TestLedger out(*domain_, "cam"), in(*domain_, "sub");
  auto sub = subscription(reliable(2), &in.ledger);
  std::thread source([&] {
    auto images = publisher(reliable(1), slots(3), &out.ledger);
    ASSERT_TRUE(joined(images));
    for (std::uint64_t seq = 1; seq <= kFrames; ++seq) {
      out.ledger.capture();
      ASSERT_TRUE(publish(images, seq));
    }
    EXPECT_TRUE(images.flush(std::chrono::seconds(20)));
  });
  for (std::uint64_t seq = 1; seq <= kFrames; ++seq) {
    const auto received = next(sub);
    ASSERT_TRUE(received);
    ASSERT_EQ(received->message.header.seq, seq);
    expect_intact(*received);
    if (seq % 50 == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // slow, on purpose
  }
  source.join();
  EXPECT_EQ(in.ledger.in(), kFrames);
  EXPECT_EQ(in.ledger.in_process(), kFrames) << "no drop of any kind";
  EXPECT_EQ(out.ledger.out(), kFrames);
}

TEST_F(Topics, AReliableReaderOfManyFramesGetsLargerFramesToo) {
  auto sub = subscription(reliable(1));
  std::thread source([&] {
    auto images = publisher(reliable(1), slots(2));
    ASSERT_TRUE(joined(images));
    for (std::uint64_t seq = 1; seq <= 30; ++seq) ASSERT_TRUE(publish(images, seq, 1000 * seq));
    EXPECT_TRUE(images.flush(std::chrono::seconds(20)));
  });
  for (std::uint64_t seq = 1; seq <= 30; ++seq) {
    const auto received = next(sub);
    ASSERT_TRUE(received);
    ASSERT_EQ(received->message.header.seq, seq);
    expect_intact(*received, 1000 * seq);
  }
  source.join();
}

TEST_F(Topics, ReliableReadersThatComeAndGoLoseNothingAndLeakNothing) {
  TestLedger out(*domain_, "cam");
  std::atomic<bool> done{false};
  std::thread source([&] {
    auto images = publisher(reliable(1), slots(3), &out.ledger);
    for (std::uint64_t seq = 1; !done; ++seq) publish(images, seq);
    // Whoever left, nothing is kept for them.
    ASSERT_TRUE(eventually([&] { return images.subscription_count() == 0; }));
    EXPECT_TRUE(images.flush(std::chrono::seconds(20)));
    std::vector<WritableBuffer> all;
    for (int i = 0; i < 3; ++i) {
      auto buffer = images.loan(kBytes);
      ASSERT_TRUE(buffer);
      all.push_back(std::move(*buffer));
    }
  });
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      for (int round = 0; round < 12; ++round) {
        auto sub = subscription(reliable(static_cast<std::uint32_t>(1 + r)));
        std::uint64_t last = 0;
        for (int n = 0; n < 40; ++n) {
          const auto received = next(sub);
          ASSERT_TRUE(received);
          const std::uint64_t seq = received->message.header.seq;
          ASSERT_TRUE(last == 0 || seq == last + 1) << "reader " << r << " round " << round;
          last = seq;
          expect_intact(*received);
        }
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  done = true;
  source.join();
}

TEST_F(Topics, ABestEffortSubscriberDoesNotStopAReliablePublisher) {
  auto images = publisher(reliable(1), slots(3));
  auto stalled = subscription();  // never drained
  auto sub = subscription(reliable(1));
  ASSERT_TRUE(joined(images, 2));
  std::thread source([&] {
    for (std::uint64_t seq = 1; seq <= 1000; ++seq) ASSERT_TRUE(publish(images, seq));
  });
  for (std::uint64_t seq = 1; seq <= 1000; ++seq) {
    const auto received = next(sub);
    ASSERT_TRUE(received);
    ASSERT_EQ(received->message.header.seq, seq);
  }
  source.join();
}

TEST_F(Topics, AReliableSubscriptionOfABestEffortTopicStillGetsMessages) {
  auto images = publisher({}, slots(4));
  auto sub = subscription(reliable(1));
  ASSERT_TRUE(joined(images));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) {
    ASSERT_TRUE(publish(images, seq));
    ASSERT_TRUE(next(sub));
  }
}

TEST_F(Topics, AReliableReaderOfAnotherLayoutIsNotWaitedFor) {
  auto images = publisher(reliable(1), slots(2));
  auto wrong = subscription<msgs::NodeStatus>(reliable(1));
  ASSERT_TRUE(joined(images));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) ASSERT_TRUE(publish(images, seq));
}

TEST_F(Topics, AWaitingReliablePublisherCanBeInterrupted) {
  auto images = publisher(reliable(1), slots(2));
  auto sub = subscription(reliable(1));
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  ASSERT_TRUE(publish(images, 2));
  std::atomic<bool> returned{false};
  std::thread source([&] {
    EXPECT_FALSE(publish(images, 3)) << "both slots are held for a reader that reads nothing";
    returned = true;
  });
  EXPECT_FALSE(returned);
  images.interrupt();
  EXPECT_TRUE(eventually([&] { return returned.load(); }));
  source.join();
}

TEST_F(Topics, ReliableMessagesWithoutPayloadAreNotLostEither) {
  constexpr std::uint64_t kMessages = 3000;
  auto sub = subscription<NodeStatus>(reliable(1));
  auto statuses = publisher<NodeStatus>(reliable(1));  // lives until everything has arrived
  std::jthread source([&] {
    ASSERT_TRUE(joined(statuses));
    NodeStatus status;
    for (std::uint64_t seq = 1; seq <= kMessages; ++seq) {
      status.header.seq = seq;
      statuses.publish(status);
    }
  });
  for (std::uint64_t seq = 1; seq <= kMessages; ++seq) {
    const auto received = next(sub);
    ASSERT_TRUE(received);
    ASSERT_EQ(received->message.header.seq, seq);
  }
}

// ---- cost

TEST_F(Topics, TheFramePathAllocatesNothing) {
  TestLedger out(*domain_, "cam"), in(*domain_, "sub");
  auto images = publisher({}, slots(4), &out.ledger);
  auto sub = subscription({}, &in.ledger);
  ASSERT_TRUE(joined(images));
  std::uint64_t taken = 0;
  const auto frames = [&](std::uint64_t count) {
    for (std::uint64_t target = taken + count; taken < target;) {
      publish(images, taken);
      for (bool got = false; !got;) {
        sub.drain();
        while (sub.take()) {
          ++taken;
          got = true;
        }
      }
    }
  };
  frames(10);
  const AllocationGuard guard;
  frames(200);
  EXPECT_EQ(guard.count(), 0u);
}

}  // namespace
}  // namespace fovea::test
