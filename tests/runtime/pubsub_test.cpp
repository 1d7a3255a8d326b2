// Topics within one process: delivery, queues, ledgers, reliability and what it all costs.
#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "tests/runtime/topics_fixture.hpp"
#include "tests/support/allocation_guard.hpp"

namespace fovea::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_P(TopicsBothWays, DeliverPayloadsToASubscriberThatStartsLater) {
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

TEST_P(TopicsBothWays, DeliverPayloadsToASubscriberThatStartsFirst) {
  auto sub = subscription();
  auto images = publisher();
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  const auto received = next(sub);
  ASSERT_TRUE(received);
  expect_intact(*received);
}

TEST_P(TopicsBothWays, CountSubscriptionsThatComeAndGo) {
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

TEST_P(TopicsBothWays, DeliverToEverySubscriber) {
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

TEST_P(TopicsBothWays, KeepTheNewestAndCountTheRestAsSuperseded) {
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

TEST_P(TopicsBothWays, AQueuedMessageDoesNotExpireWhileItWaits) {
  TestLedger in(*domain_, "sub");
  auto images = publisher({}, slots(4));
  auto sub = subscription({}, &in.ledger);
  ASSERT_TRUE(joined(images));
  ASSERT_TRUE(publish(images, 1));
  // Drained, but not taken: the payload is held from here on.
  while (in.ledger.in() == 0) {
    pollfd item{sub.fd(), POLLIN, 0};
    ASSERT_EQ(poll(&item, 1, 20000), 1);
    sub.drain();
  }
  for (std::uint64_t seq = 2; seq <= 50; ++seq) ASSERT_TRUE(publish(images, seq));
  const auto received = sub.take();
  ASSERT_TRUE(received);
  EXPECT_EQ(received->message.header.seq, 1u);
  expect_intact(*received);
}

TEST_P(TopicsBothWays, MessagesWhoseSlotsWereRecycledAreCountedAsExpired) {
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

TEST_P(TopicsBothWays, AnExhaustedPoolIsCountedOncePerLoan) {
  TestLedger out(*domain_, "cam");
  auto images = publisher({}, slots(2), &out.ledger);
  auto first = images.loan(kBytes);
  auto second = images.loan(kBytes);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(images.loan(kBytes));
  EXPECT_FALSE(images.loan(kBytes));
  EXPECT_EQ(out.ledger.drops(DropReason::kPoolExhausted), 2u);
}

TEST_P(TopicsBothWays, LargerFramesGetANewPoolAndReadersFollow) {
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

TEST_P(TopicsBothWays, AFullSharedMemoryIsADropAndNotACrash) {
  TestLedger out(*domain_, "cam");
  setenv("FOVEA_SHM_DIR", "/dev/shm", 1);
  const auto domain = Domain::open("test-full-shm");
  ASSERT_TRUE(domain);
  auto images = Publisher<Image>::create(*domain, kTopic, {}, slots(4), &out.ledger);
  ASSERT_TRUE(images);
  EXPECT_FALSE(images->loan(std::size_t{1} << 40));
  EXPECT_EQ(out.ledger.drops(DropReason::kPoolExhausted), 1u);
}

TEST_P(TopicsBothWays, ASecondPublisherIsRefusedByName) {
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

TEST_P(TopicsBothWays, APublisherThatComesBackIsFoundAgain) {
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

TEST_P(TopicsBothWays, ALostMessageIsAGapInTheLedger) {
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

TEST_P(TopicsBothWays, ALateSubscriberGetsTheLastTransientLocalMessageOnce) {
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
  // ZeroMQ sends it to the early one too, which ignores what it has.
  const std::uint64_t repeats = at_doorbell() ? 0 : 1;
  ASSERT_TRUE(eventually([&] {
    early.drain();
    return early.refused() >= repeats;
  }));
  EXPECT_EQ(early.refused(), repeats);
  EXPECT_FALSE(early.take());
  EXPECT_FALSE(late.take());
}

TEST_P(TopicsBothWays, TheFirstMessageOfARestartedPublisherIsNoRepeat) {
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

TEST_P(TopicsBothWays, TransientLocalPayloadsAreRefused) {
  const auto images = Publisher<Image>::create(*domain_, kTopic, kTransientLocal);
  ASSERT_FALSE(images);
  EXPECT_EQ(images.error().code, ErrorCode::kInvalidArgument);
}

TEST_P(TopicsBothWays, QosAndPoolsOutOfRangeAreRefused) {
  EXPECT_FALSE(Subscription<Image>::create(*domain_, kTopic, depth(0)));
  EXPECT_FALSE(Publisher<Image>::create(*domain_, kTopic, {}, slots(0)));
  EXPECT_FALSE(Publisher<Image>::create(*domain_, "no/../way"));
}

// ---- reliable

TEST_P(TopicsBothWays, ReliableDeliveryLosesNothingToASlowReader) {
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

TEST_P(TopicsBothWays, AReliableReaderOfManyFramesGetsLargerFramesToo) {
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

TEST_P(TopicsBothWays, ReliableReadersThatComeAndGoLoseNothingAndLeakNothing) {
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

TEST_P(TopicsBothWays, ABestEffortSubscriberDoesNotStopAReliablePublisher) {
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

TEST_P(TopicsBothWays, AReliableSubscriptionOfABestEffortTopicStillGetsMessages) {
  auto images = publisher({}, slots(4));
  auto sub = subscription(reliable(1));
  ASSERT_TRUE(joined(images));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) {
    ASSERT_TRUE(publish(images, seq));
    ASSERT_TRUE(next(sub));
  }
}

TEST_P(TopicsBothWays, AReliableReaderOfAnotherLayoutIsNotWaitedFor) {
  auto images = publisher(reliable(1), slots(2));
  auto wrong = subscription<msgs::NodeStatus>(reliable(1));
  ASSERT_TRUE(joined(images));
  for (std::uint64_t seq = 1; seq <= 10; ++seq) ASSERT_TRUE(publish(images, seq));
}

TEST_P(TopicsBothWays, AWaitingReliablePublisherCanBeInterrupted) {
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

TEST_P(TopicsBothWays, ReliableMessagesWithoutPayloadAreNotLostEither) {
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

TEST_P(TopicsBothWays, WhatAFullReliableQueueLeavesUnreadKeepsTheDescriptorReadable) {
  auto sub = subscription(reliable(1));
  auto images = publisher(reliable(1), slots(4));
  ASSERT_TRUE(joined(images));
  for (std::uint64_t seq = 1; seq <= 4; ++seq) ASSERT_TRUE(publish(images, seq));
  pollfd item{sub.fd(), POLLIN, 0};
  for (std::uint64_t seq = 1; seq <= 4;) {
    ASSERT_EQ(poll(&item, 1, 20000), 1) << seq - 1 << " of 4 were read";
    sub.drain();
    const auto received = sub.take();
    if (!received) continue;
    EXPECT_EQ(received->message.header.seq, seq);
    ++seq;
  }
}

TEST_P(TopicsBothWays, ASubscriberThatStallsLosesItsOwnMessagesOnly) {
  constexpr std::uint64_t kMessages = 5000;
  TestLedger out(*domain_, "cam"), fast_in(*domain_, "fast"), slow_in(*domain_, "slow");
  auto statuses = publisher<NodeStatus>({}, {}, &out.ledger);
  auto fast = subscription<NodeStatus>({}, &fast_in.ledger);
  auto slow = subscription<NodeStatus>({}, &slow_in.ledger);
  ASSERT_TRUE(joined(statuses, 2));
  NodeStatus status;
  for (std::uint64_t seq = 1; seq <= kMessages; ++seq) {
    status.header.seq = seq;
    statuses.publish(status);
    const auto received = next(fast);
    ASSERT_TRUE(received);
    ASSERT_EQ(received->message.header.seq, seq);
  }
  // It is served again from here on; ZeroMQ takes a while to notice that there is room.
  std::uint64_t last = 0;
  ASSERT_TRUE(eventually([&] {
    ++status.header.seq;
    statuses.publish(status);
    slow.drain();
    while (auto received = slow.take()) last = received->message.header.seq;
    return last > kMessages;
  }));
  EXPECT_GT(slow_in.ledger.drops(DropReason::kLost), 0u) << "its queue has no bound";
  EXPECT_GT(slow_in.ledger.drops(DropReason::kSuperseded), 100u) << "its queue holds too little";
  EXPECT_EQ(slow_in.ledger.in(), last);
  EXPECT_EQ(slow_in.ledger.in(), slow_in.sum());
  EXPECT_EQ(fast_in.ledger.drops(DropReason::kLost), 0u);
}

// ---- cost

TEST_P(TopicsBothWays, TheFramePathAllocatesNothing) {
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

INSTANTIATE_TEST_SUITE_P(Topics, TopicsBothWays, kBothWays, kWakeUpName);

// ---- both at once

TEST_F(Topics, SubscribersWithAndWithoutADoorbellGetTheSame) {
  TestLedger one(*domain_, "one"), other(*domain_, "other");
  auto images = publisher({}, slots(6));
  auto at_doorbell = subscription({}, &one.ledger);
  use_wake_up(kZmq);
  auto through_zmq = subscription({}, &other.ledger);
  ASSERT_TRUE(joined(images, 2));
  for (std::uint64_t seq = 1; seq <= 50; ++seq) {
    ASSERT_TRUE(publish(images, seq));
    for (auto* sub : {&at_doorbell, &through_zmq}) {
      const auto received = next(*sub);
      ASSERT_TRUE(received);
      ASSERT_EQ(received->message.header.seq, seq);
      expect_intact(*received);
    }
  }
  EXPECT_EQ(one.ledger.in_process(), 50u);
  EXPECT_EQ(other.ledger.in_process(), 50u);
}

TEST_F(Topics, AWakeUpThatDoesNotExistIsRefusedByName) {
  use_wake_up("gong");
  const auto sub = Subscription<Image>::create(*domain_, kTopic);
  ASSERT_FALSE(sub);
  EXPECT_EQ(sub.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(sub.error().message, HasSubstr("FOVEA_WAKE_UP is gong"));
}

}  // namespace
}  // namespace fovea::test
