#include "nodes/runtime/figures/ledger.hpp"

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "nodes/runtime/figures/metrics.hpp"
#include "tests/support/allocation_guard.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

constexpr auto kReasons = {DropReason::kPoolExhausted, DropReason::kLost,
                           DropReason::kSuperseded,    DropReason::kExpired,
                           DropReason::kDeadline,      DropReason::kError};

class Ledger : public testing::Test {
 protected:
  std::unique_ptr<MetricsPage> page(std::string_view node = "stage") {
    return std::move(MetricsPage::create(*domain_, node, "camera").value());
  }
  test::TestDomain domain_;
};

std::uint64_t all_drops(const StageLedger& ledger) {
  std::uint64_t sum = 0;
  for (const DropReason reason : kReasons) sum += ledger.drops(reason);
  return sum;
}

TEST_F(Ledger, CapturedFramesAreNumberedFromOne) {
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  EXPECT_EQ(ledger.capture(), 1u);
  EXPECT_EQ(ledger.capture(), 2u);
  EXPECT_EQ(ledger.in_process(), 2u);
  EXPECT_EQ(ledger.depart(), 1u);
  ledger.drop(DropReason::kPoolExhausted);
  EXPECT_EQ(ledger.in_process(), 0u);
  EXPECT_EQ(ledger.in(), 2u);
  EXPECT_EQ(ledger.out(), 1u);
  EXPECT_EQ(ledger.drops(DropReason::kPoolExhausted), 1u);
}

TEST_F(Ledger, GapsAreLostAndRepeatsIgnored) {
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  EXPECT_TRUE(ledger.arrive(1));
  EXPECT_FALSE(ledger.arrive(1));
  EXPECT_TRUE(ledger.arrive(5));
  EXPECT_FALSE(ledger.arrive(0));
  EXPECT_EQ(ledger.in(), 5u);
  EXPECT_EQ(ledger.drops(DropReason::kLost), 3u);
  EXPECT_EQ(ledger.in_process(), 2u);
}

TEST_F(Ledger, WhoJoinsLateByChoiceMissesNothing) {
  {
    const auto metrics = page();
    metrics->keep();
    StageLedger ledger(*metrics, "cam0", FirstMessage::kSetsBase);
    EXPECT_TRUE(ledger.arrive(1000));
    EXPECT_FALSE(ledger.arrive(1000)) << "a repeat";
    EXPECT_EQ(ledger.in(), 1u);
    EXPECT_EQ(all_drops(ledger), 0u);
    EXPECT_TRUE(ledger.arrive(1003));
    EXPECT_EQ(ledger.in(), 4u);
    EXPECT_EQ(ledger.drops(DropReason::kLost), 2u) << "these were sent after it had joined";
    EXPECT_TRUE(ledger.arrive(7)) << "the publisher lost its page and counts anew";
    EXPECT_TRUE(ledger.arrive(8));
    EXPECT_EQ(ledger.in(), 6u);
    EXPECT_EQ(all_drops(ledger), 2u);
  }
  const auto metrics = page();  // a restart: what was in process is lost, what passed by is not
  StageLedger ledger(*metrics, "cam0", FirstMessage::kSetsBase);
  EXPECT_EQ(all_drops(ledger), 6u);
  EXPECT_TRUE(ledger.arrive(500));
  EXPECT_EQ(ledger.in(), 7u);
  EXPECT_EQ(all_drops(ledger), 6u);
}

constexpr auto kLost = static_cast<std::size_t>(DropReason::kLost);

// A stage of a graph that runs already: who writes `in` is `last`, with ten frames out.
class LateStage : public Ledger {
 protected:
  void SetUp() override {
    last_.writes("in");
    for (int i = 0; i < 10; ++i) send();
  }
  // The present stage ends, and another process of the name starts.
  void start(bool joins_late) {
    stage_.reset();
    if (page_) page_->keep();
    page_.reset();
    page_ = page("late");
    page_->set_joins_late(joins_late);
    stage_.emplace(*page_, "cam0");
    stage_->reads("in");
  }
  std::uint64_t send() {
    last_.capture();
    return last_.depart();
  }
  FrameAccount books() {
    const auto last = *MetricsReader::open(*domain_, "last");
    const auto late = *MetricsReader::open(*domain_, "late");
    const StageCounts counts = read_stage(*late, "cam0");
    return account(std::vector{read_stage(*last, "cam0"), counts}, true);
  }

  std::unique_ptr<MetricsPage> last_page_ = page("last");
  StageLedger last_{*last_page_, "cam0"};
  std::unique_ptr<MetricsPage> page_;
  std::optional<StageLedger> stage_;
};

TEST_F(LateStage, WhatPassedBeforeItCameWasDeliveredByTheStageBefore) {
  start(true);
  EXPECT_EQ(books().delivered, 10u) << "before its first frame, too";
  EXPECT_TRUE(books().balanced());
  send();  // on the way while it starts: due to it, and lost
  EXPECT_TRUE(stage_->arrive(send()));
  stage_->depart();
  EXPECT_EQ(stage_->in(), 2u);
  const FrameAccount books = this->books();
  EXPECT_EQ(books.captured, 12u);
  EXPECT_EQ(books.delivered, 11u);
  EXPECT_EQ(books.drops[kLost], 1u);
  EXPECT_TRUE(books.balanced());
}

TEST_F(LateStage, WhatItsCrashCostIsLost) {
  start(true);
  EXPECT_TRUE(stage_->arrive(send()));
  stage_->depart();
  EXPECT_TRUE(stage_->arrive(send()));  // it dies with this one
  start(false);
  send();  // while it is away
  EXPECT_TRUE(stage_->arrive(send()));
  stage_->depart();
  const FrameAccount books = this->books();
  EXPECT_EQ(books.delivered, 12u);
  EXPECT_EQ(books.drops[kLost], 2u);
  EXPECT_TRUE(books.balanced());
  const auto page = *MetricsReader::open(*domain_, "late");
  EXPECT_EQ(read_restart_gaps(*page, "cam0").frames, 2u);
}

TEST_F(LateStage, WhatPassedWhileItWasRemovedIsNotLost) {
  start(true);
  EXPECT_TRUE(stage_->arrive(send()));
  stage_->depart();
  for (int i = 0; i < 20; ++i) send();
  start(true);  // added once more
  EXPECT_TRUE(stage_->arrive(send()));
  stage_->depart();
  const FrameAccount books = this->books();
  EXPECT_EQ(books.delivered, 32u);
  EXPECT_EQ(books.dropped(), 0u);
  EXPECT_TRUE(books.balanced());
  const auto page = *MetricsReader::open(*domain_, "late");
  EXPECT_EQ(read_restart_gaps(*page, "cam0").count, 0u);
}

TEST_F(LateStage, WhoWasThereFromTheStartCountsAllOfIt) {
  start(false);
  EXPECT_TRUE(stage_->arrive(send()));
  stage_->depart();
  EXPECT_EQ(books().delivered, 1u);
  EXPECT_EQ(books().drops[kLost], 10u);
  EXPECT_TRUE(books().balanced());
}

TEST_F(LateStage, AStageBehindOneThatWasReplacedCountsBothPublishers) {
  const auto behind_page = page("behind");
  StageLedger behind(*behind_page, "cam0");
  behind.reads("out");
  for (std::uint64_t seq = 1; seq <= 8; ++seq) {  // of the first one, which had taken ten
    EXPECT_TRUE(behind.arrive(seq));
    behind.depart();
  }
  start(true);  // its successor, under another name
  EXPECT_TRUE(stage_->arrive(send()));
  EXPECT_TRUE(behind.arrive(stage_->depart()));
  behind.depart();
  const auto last = *MetricsReader::open(*domain_, "last");
  const auto late = *MetricsReader::open(*domain_, "late");
  const auto reader = *MetricsReader::open(*domain_, "behind");
  const FrameAccount books =
      account(std::vector{read_stage(*last, "cam0"), read_stage(*late, "cam0"),
                          read_stage(*reader, "cam0")},
              true);
  EXPECT_EQ(books.captured, 11u);
  EXPECT_EQ(books.overcounted, 0u);
  EXPECT_TRUE(books.balanced());
}

TEST_F(LateStage, RandomDeathsRemovalsAndReturnsBalanceExactly) {
  std::mt19937 random(5);
  const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
  start(true);
  std::uint64_t delivered = 10, away = 0;
  for (int frame = 0; frame < 3000; ++frame) {
    if (chance(1)) start(false);
    if (chance(1)) {  // removed for a while, and back
      for (std::uint64_t i = random() % 20; i > 0; --i, ++delivered) send();
      start(true);
    }
    const std::uint64_t seq = send();
    if (chance(5)) {
      ++away;
      continue;
    }
    ASSERT_TRUE(stage_->arrive(seq));
    if (chance(2)) {
      start(false);  // dies while it holds the frame
      ++away;
      continue;
    }
    stage_->depart();
    ++delivered;
  }
  const FrameAccount books = this->books();
  EXPECT_TRUE(books.balanced());
  EXPECT_GE(books.delivered, delivered);
  EXPECT_LE(books.drops[kLost], away);
}

TEST_F(Ledger, LateStarterCountsWhatItMissed) {
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  EXPECT_TRUE(ledger.arrive(500));
  EXPECT_EQ(ledger.in(), 500u);
  EXPECT_EQ(ledger.drops(DropReason::kLost), 499u);
}

TEST_F(Ledger, PublisherThatCountsFromOneAgainIsFollowed) {
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  for (std::uint64_t seq = 1; seq <= 100; ++seq) ASSERT_TRUE(ledger.arrive(seq));
  EXPECT_TRUE(ledger.arrive(3));  // its first two were sent before we were connected again
  EXPECT_TRUE(ledger.arrive(4));
  EXPECT_FALSE(ledger.arrive(4));
  EXPECT_EQ(ledger.in(), 104u);
  EXPECT_EQ(ledger.drops(DropReason::kLost), 2u);
  EXPECT_TRUE(ledger.arrive(1));
  EXPECT_EQ(ledger.in(), 105u);
}

TEST_F(Ledger, RestartContinuesInTheMiddleOfAPublishersCount) {
  {
    const auto metrics = page();
    StageLedger ledger(*metrics, "cam0");
    ledger.arrive(10);
    ledger.arrive(2);  // the publisher began anew
    metrics->keep();
  }
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  EXPECT_TRUE(ledger.arrive(4));  // 3 was sent while this node was down
  EXPECT_EQ(ledger.in(), 14u);
  EXPECT_EQ(ledger.in_process(), 1u);
  EXPECT_EQ(all_drops(ledger), 13u);
}

TEST_F(Ledger, NumbersGoOnAfterARestart) {
  {
    const auto metrics = page();
    StageLedger ledger(*metrics, "cam0");
    for (int i = 0; i < 3; ++i) ledger.capture();
    ledger.depart();
    metrics->keep();
  }
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  EXPECT_EQ(ledger.drops(DropReason::kLost), 2u);  // what died in process
  EXPECT_EQ(ledger.in_process(), 0u);
  EXPECT_EQ(ledger.capture(), 4u);
  EXPECT_EQ(ledger.depart(), 2u);
}

TEST_F(Ledger, ARestartedStageReportsTheGapOfEachCameraOnce) {
  {
    const auto metrics = page();
    StageLedger ledger(*metrics, "cam0"), idle(*metrics, "cam1");
    ledger.arrive(1);
    ledger.depart();
    ledger.arrive(2);
    ledger.arrive(4);  // lost on the way: no matter of a restart
    metrics->keep();   // 2 and 4 die in process
  }
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0"), idle(*metrics, "cam1");
  const auto reader = std::move(MetricsReader::open(*domain_, "stage").value());
  EXPECT_EQ(read_restart_gaps(*reader, "cam0").count, 0u) << "it is not back yet";
  ledger.arrive(8);  // 5, 6 and 7 were sent while the stage was away
  ledger.depart();
  idle.arrive(3);  // its first frame ever
  ledger.arrive(10);
  const RestartGaps gaps = read_restart_gaps(*reader, "cam0");
  EXPECT_EQ(gaps.count, 1u);
  EXPECT_EQ(gaps.frames, 5u);
  EXPECT_EQ(ledger.drops(DropReason::kLost), 7u);
  EXPECT_EQ(read_restart_gaps(*reader, "cam1").count, 0u);
  EXPECT_EQ(read_restart_gaps(*reader, "nobody").count, 0u);
}

TEST_F(Ledger, CamerasAreCountedApart) {
  const auto metrics = page();
  StageLedger a(*metrics, "a"), b(*metrics, "b");
  a.capture();
  EXPECT_EQ(b.in(), 0u);
  const auto reader = std::move(MetricsReader::open(*domain_, "stage").value());
  EXPECT_EQ(ledger_cameras(*reader), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(read_stage(*reader, "a").in, 1u);
  EXPECT_EQ(read_stage(*reader, "b").in, 0u);
  EXPECT_EQ(read_stage(*reader, "nobody").in_process(), 0u);
}

TEST_F(Ledger, ReadStageSeesEveryCounter) {
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  ledger.arrive(100);
  std::uint64_t n = 0;
  for (const DropReason reason : kReasons) ledger.drop(reason, ++n);
  ledger.depart();
  const StageCounts counts =
      read_stage(*std::move(MetricsReader::open(*domain_, "stage").value()), "cam0");
  EXPECT_EQ(counts.in, 100u);
  EXPECT_EQ(counts.out, 1u);
  EXPECT_EQ(counts.drops, (std::array<std::uint64_t, kDropReasons>{1, 101, 3, 4, 5, 6}));
  EXPECT_EQ(counts.dropped(), 120u);
  EXPECT_EQ(counts.in_process(), 0u);  // more ended than came: a caller's bug stays at zero
}

TEST_F(Ledger, ReasonsHaveTheNamesThatReadersShow) {
  std::vector<std::string> names;
  for (const DropReason reason : kReasons) names.emplace_back(to_string(reason));
  EXPECT_EQ(names, (std::vector<std::string>{"pool_exhausted", "lost", "superseded", "expired",
                                             "deadline", "error"}));
  EXPECT_EQ(to_string(static_cast<DropReason>(99)), "invalid");
}

TEST_F(Ledger, ThreadsOfOneNodeLoseNoCount) {
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        ledger.capture();
        if (i % 2 == 0) {
          ledger.depart();
        } else {
          ledger.drop(DropReason::kDeadline);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ledger.in(), 20'000u);
  EXPECT_EQ(ledger.out(), 10'000u);
  EXPECT_EQ(ledger.in_process(), 0u);
}

TEST_F(Ledger, CountingAllocatesNothing) {
  const auto metrics = page();
  StageLedger ledger(*metrics, "cam0");
  const test::AllocationGuard guard;
  for (std::uint64_t seq = 1; seq < 100; seq += 2) {
    ledger.arrive(seq);
    ledger.depart();
    ledger.capture();
    ledger.drop(DropReason::kExpired);
  }
  EXPECT_EQ(guard.count(), 0u);
}

// The stores that a stage makes for one frame, one by one, as a debugger would step through them. A
// process that dies after any number of them must leave pages that settle to a balanced account.
class DyingStage {
 public:
  DyingStage(MetricsPage& page, std::string_view camera) : page_(page), camera_(camera) {}

  // arrive(topic_seq), depart(): `in` first, then the gap, then the frame's end.
  std::vector<std::function<void()>> steps_of_frame(std::uint64_t topic_seq, bool departs) {
    std::vector<std::function<void()>> steps;
    const std::uint64_t last = counter("frames_in").load();
    steps.push_back([this, topic_seq] { counter("frames_in").store(topic_seq); });
    if (topic_seq > last + 1) {
      steps.push_back(
          [this, n = topic_seq - last - 1] { counter("frames_dropped", "lost").fetch_add(n); });
    }
    steps.push_back([this, departs] {
      departs ? counter("frames_out").fetch_add(1)
              : counter("frames_dropped", "deadline").fetch_add(1);
    });
    return steps;
  }

 private:
  Counter& counter(std::string_view name, std::string_view label = "") {
    return page_.counter(name, camera_, label);
  }
  MetricsPage& page_;
  std::string camera_;
};

TEST_F(Ledger, DeathAfterAnyStoreSettlesToABalancedAccount) {
  for (const bool departs : {true, false}) {
    for (std::size_t died_after = 0; died_after <= 3; ++died_after) {
      SCOPED_TRACE(died_after);
      {
        const auto metrics = page();
        StageLedger ledger(*metrics, "cam0");
        ledger.arrive(1);
        ledger.depart();
        DyingStage dying(*metrics, "cam0");
        auto steps = dying.steps_of_frame(4, departs);
        ASSERT_EQ(steps.size(), 3u);
        for (std::size_t i = 0; i < died_after; ++i) {
          steps[i]();
          EXPECT_GE(ledger.in(), ledger.out() + all_drops(ledger));  // never counted twice
        }
        metrics->keep();
      }
      // The supervisor's view of the dead process: 4 were sent to it.
      const StageCounts dead =
          read_stage(*std::move(MetricsReader::open(*domain_, "stage").value()), "cam0");
      StageCounts source;
      source.in = source.out = 4;
      const FrameAccount end = account(std::vector{source, dead}, true);
      EXPECT_TRUE(end.balanced());
      EXPECT_EQ(end.captured, 4u);

      // And the successor's.
      const auto metrics = page();
      StageLedger ledger(*metrics, "cam0");
      EXPECT_EQ(ledger.in_process(), 0u);
      EXPECT_EQ(ledger.in(), ledger.out() + all_drops(ledger));
      EXPECT_TRUE(ledger.arrive(5));
      ledger.depart();
      EXPECT_EQ(ledger.in(), 5u);
      EXPECT_EQ(ledger.in(), ledger.out() + all_drops(ledger));
    }
  }
}

StageCounts counts(std::uint64_t in, std::uint64_t out, std::uint64_t superseded = 0) {
  StageCounts stage;
  stage.in = in;
  stage.out = out;
  stage.drops[static_cast<std::size_t>(DropReason::kSuperseded)] = superseded;
  return stage;
}

TEST_F(Ledger, RunningChainShowsWhatIsInFlight) {
  const std::vector<StageCounts> chain{counts(100, 99), counts(97, 95, 1), counts(95, 80, 10),
                                       counts(78, 78)};
  const FrameAccount now = account(chain, false);
  EXPECT_EQ(now.captured, 100u);
  EXPECT_EQ(now.delivered, 78u);
  EXPECT_EQ(now.dropped(), 11u);
  EXPECT_EQ(now.in_flight, 1u + 2u + 1u + 0u + 5u + 2u + 0u);
  EXPECT_TRUE(now.balanced());

  const FrameAccount end = account(chain, true);
  EXPECT_EQ(end.in_flight, 0u);
  EXPECT_EQ(end.drops[static_cast<std::size_t>(DropReason::kLost)], 11u);
  EXPECT_EQ(end.captured, end.delivered + end.dropped());
  EXPECT_TRUE(end.balanced());
}

TEST_F(Ledger, StageThatNeverStartedLosesEverything) {
  const FrameAccount end = account(std::vector{counts(10, 10), counts(0, 0), counts(0, 0)}, true);
  EXPECT_EQ(end.delivered, 0u);
  EXPECT_EQ(end.drops[static_cast<std::size_t>(DropReason::kLost)], 10u);
  EXPECT_TRUE(end.balanced());
}

TEST_F(Ledger, OvercountingIsSeen) {
  EXPECT_FALSE(account(std::vector{counts(10, 11)}, true).balanced());
  EXPECT_EQ(account(std::vector{counts(10, 8, 4)}, true).overcounted, 2u);
  EXPECT_EQ(account(std::vector{counts(10, 10), counts(12, 12)}, true).overcounted, 2u);
  EXPECT_TRUE(account({}, true).balanced());
}

// Four stages with random drops, losses on the way, restarts of every stage at any moment.
TEST_F(Ledger, RandomDeathsAlongTheChainBalanceExactly) {
  std::mt19937 random(11);
  const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
  struct Stage {
    std::unique_ptr<MetricsPage> page;
    std::unique_ptr<StageLedger> ledger;
  };
  std::vector<Stage> stages(4);
  const auto start = [&](std::size_t i) {
    stages[i].ledger.reset();
    if (stages[i].page) stages[i].page->keep();
    stages[i].page.reset();
    stages[i].page = page("stage" + std::to_string(i));
    stages[i].ledger = std::make_unique<StageLedger>(*stages[i].page, "cam0");
  };
  for (std::size_t i = 0; i < stages.size(); ++i) start(i);

  std::uint64_t delivered = 0;
  for (int frame = 0; frame < 3000; ++frame) {
    std::uint64_t seq = 0;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      if (i == 0) {
        stages[i].ledger->capture();
      } else if (!stages[i].ledger->arrive(seq)) {
        ADD_FAILURE() << "frame ignored";
        break;
      }
      if (chance(2)) {  // dies while it holds the frame
        start(i);
        break;
      }
      if (chance(5)) {
        stages[i].ledger->drop(DropReason::kSuperseded);
        break;
      }
      seq = stages[i].ledger->depart();
      if (chance(2)) {  // dies after counting it out, before sending
        start(i);
        break;
      }
      if (i + 1 == stages.size()) ++delivered;
      if (chance(5)) break;  // lost on the way
    }
  }
  std::vector<StageCounts> chain;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto reader =
        std::move(MetricsReader::open(*domain_, "stage" + std::to_string(i)).value());
    EXPECT_GT(reader->starts(), 10u);
    chain.push_back(read_stage(*reader, "cam0"));
  }
  const FrameAccount end = account(chain, true);
  EXPECT_EQ(end.captured, 3000u);
  EXPECT_GE(end.delivered, delivered);  // counted out of the last stage, perhaps not sent
  EXPECT_EQ(end.overcounted, 0u);
  EXPECT_EQ(end.captured, end.delivered + end.dropped());
}

}  // namespace
}  // namespace fovea
