// Batching must neither starve a camera, reorder its frames nor lose one without saying so.
#include "nodes/detector/serving/batcher.hpp"

#include <memory>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fovea {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using Queue = BatchQueue<int>;
const Queue::Clock::time_point kStart{};

std::vector<int> take(Queue& queue) {
  std::vector<Queue::Entry> batch;
  queue.take(batch);
  std::vector<int> frames;
  for (const auto& entry : batch) frames.push_back(entry.frame);
  return frames;
}

TEST(BatchQueue, NothingWaitingIsNeverDue) {
  Queue queue(4, {.max_batch = 2, .max_delay = 5ms});
  EXPECT_EQ(queue.due(), std::nullopt);
  EXPECT_THAT(take(queue), ElementsAre());
}

TEST(BatchQueue, OldestFrameSetsTheDeadline) {
  Queue queue(4, {.max_batch = 4, .max_delay = 5ms});
  queue.put(2, 20, kStart);
  queue.put(0, 1, kStart + 3ms);
  EXPECT_EQ(queue.due(), kStart + 5ms);
}

TEST(BatchQueue, FullBatchIsDueAtOnce) {
  Queue queue(4, {.max_batch = 2, .max_delay = 1h});
  queue.put(0, 1, kStart);
  queue.put(1, 2, kStart);
  EXPECT_LT(*queue.due(), kStart);
  EXPECT_THAT(take(queue), ElementsAre(1, 2));
}

TEST(BatchQueue, FewerCamerasThanMaxBatchMakeAFullBatch) {
  Queue queue(2, {.max_batch = 16, .max_delay = 1h});
  queue.put(0, 1, kStart);
  queue.put(1, 2, kStart);
  EXPECT_LT(*queue.due(), kStart);
}

TEST(BatchQueue, NewerFrameSupersedesAndKeepsTheTurn) {
  Queue queue(3, {.max_batch = 1, .max_delay = 0ms});
  EXPECT_EQ(queue.put(0, 1, kStart), std::nullopt);
  queue.put(1, 10, kStart + 1ms);
  EXPECT_EQ(queue.put(0, 2, kStart + 2ms), 1);
  EXPECT_THAT(take(queue), ElementsAre(2));
  EXPECT_THAT(take(queue), ElementsAre(10));
}

TEST(BatchQueue, BusyCameraCannotStarveASlowOne) {
  Queue queue(3, {.max_batch = 1, .max_delay = 0ms});
  queue.put(0, 0, kStart);
  queue.put(2, 2, kStart);
  std::vector<int> served;
  for (int i = 0; i < 4; ++i) {
    queue.put(0, 0, kStart);  // always has a frame
    const auto frames = take(queue);
    served.insert(served.end(), frames.begin(), frames.end());
  }
  EXPECT_THAT(served, ElementsAre(0, 2, 0, 0));
}

TEST(Batcher, EveryFrameIsEitherServedInOrderOrReturnedAsSuperseded) {
  constexpr std::size_t kCameras = 4;
  constexpr int kFrames = 5000;
  Batcher<std::unique_ptr<int>> batcher(kCameras, {.max_batch = 3, .max_delay = 50us});
  std::vector<int> superseded(kCameras, 0);
  std::vector<std::jthread> producers;
  for (std::size_t camera = 0; camera < kCameras; ++camera) {
    producers.emplace_back([&, camera] {
      for (int i = 1; i <= kFrames; ++i) {
        if (batcher.put(camera, std::make_unique<int>(i))) ++superseded[camera];
      }
    });
  }
  std::vector<int> served(kCameras, 0), last(kCameras, 0);
  std::jthread consumer([&] {
    std::vector<Batcher<std::unique_ptr<int>>::Entry> batch;
    while (batcher.wait(batch)) {
      EXPECT_LE(batch.size(), 3u);
      for (const auto& entry : batch) {
        EXPECT_GT(*entry.frame, last[entry.camera]);
        last[entry.camera] = *entry.frame;
        ++served[entry.camera];
      }
    }
  });
  for (auto& producer : producers) producer.join();
  batcher.close();
  consumer.join();
  for (std::size_t camera = 0; camera < kCameras; ++camera) {
    EXPECT_EQ(served[camera] + superseded[camera], kFrames);
    EXPECT_EQ(last[camera], kFrames);  // the newest one is never dropped
  }
}

TEST(Batcher, FramesPutInTurnAreAllServedInOrder) {
  constexpr std::size_t kCameras = 3;
  constexpr int kFrames = 2000;
  Batcher<int> batcher(kCameras, {.max_batch = 2});
  std::vector<std::jthread> producers;
  for (std::size_t camera = 0; camera < kCameras; ++camera) {
    producers.emplace_back([&, camera] {
      for (int i = 1; i <= kFrames; ++i) EXPECT_TRUE(batcher.put_in_turn(camera, i));
    });
  }
  std::vector<int> last(kCameras, 0);
  std::jthread consumer([&] {
    std::vector<Batcher<int>::Entry> batch;
    while (batcher.wait(batch)) {
      for (const auto& entry : batch) EXPECT_EQ(entry.frame, ++last[entry.camera]);
    }
  });
  for (auto& producer : producers) producer.join();
  batcher.close();
  consumer.join();
  EXPECT_EQ(last, std::vector<int>(kCameras, kFrames));
}

TEST(Batcher, CloseWakesAnIdleConsumer) {
  Batcher<int> batcher(1, {});
  std::jthread consumer([&] {
    std::vector<Batcher<int>::Entry> batch;
    EXPECT_FALSE(batcher.wait(batch));
  });
  batcher.close();
}

}  // namespace
}  // namespace fovea
