// Real processes, killed with SIGKILL at random instants: no torn frame, no slot or file left
// behind, every frame accounted for.
#include <array>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/runtime/figures/metrics.hpp"
#include "tests/crash/board.hpp"
#include "tests/crash/frames.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea::test {
namespace {

using msgs::Image;
using testing::IsEmpty;
using testing::SizeIs;

class Peer {
 public:
  Peer(const char* mode, const std::filesystem::path& board, int standard_input = -1) {
    std::string program = CRASH_PEER, name = mode, path = board;
    std::array<char*, 4> arguments{program.data(), name.data(), path.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (standard_input >= 0)
      posix_spawn_file_actions_adddup2(&actions, standard_input, STDIN_FILENO);
    EXPECT_EQ(posix_spawn(&pid_, CRASH_PEER, &actions, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  Peer(Peer&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Peer& operator=(Peer&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Peer() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    int status = 0;
    waitpid(pid_, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the peer ended by itself";
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

class Crashes : public testing::Test {
 protected:
  Publisher<Image> publisher(Reliability reliability, std::uint32_t slot_count) {
    QoS qos;
    qos.reliability = reliability;
    PoolOptions pool;
    pool.slot_count = slot_count;
    auto images = Publisher<Image>::create(*domain_, kCrashTopic, qos, pool);
    EXPECT_TRUE(images) << images.error().message;
    return std::move(*images);
  }
  // Every slot can be loaned at once: nobody, living or dead, holds any.
  static void expect_no_slot_held(Publisher<Image>& images, std::uint32_t slot_count) {
    std::vector<WritableBuffer> all;
    ASSERT_TRUE(eventually([&] {
      images.subscription_count();
      auto buffer = images.loan(kFrameBytes);
      if (buffer) all.push_back(std::move(*buffer));
      return all.size() == slot_count;
    })) << all.size()
        << " of " << slot_count << " slots are free";
  }

  TestDomain domain_;
  std::filesystem::path board_path_ = domain_.root() / "board";
  Board& board_ = open_board(board_path_);
  std::mt19937 random_{20261121};
};

TEST_F(Crashes, KilledReadersTearNothingAndLeaveNoSlotHeld) {
  constexpr std::size_t kReaders = 4;
  constexpr std::uint32_t kSlots = 6;
  constexpr int kKills = 60;
  auto images = publisher(Reliability::kBestEffort, kSlots);
  std::vector<Peer> readers;
  for (std::size_t i = 0; i < kReaders; ++i) readers.emplace_back("read", board_path_);
  std::uint64_t seq = 0, exhausted = 0;
  const auto publish = [&] {
    if (!publish_frame(images, ++seq)) ++exhausted;
    return seq;
  };
  for (int killed = 0; killed < kKills; ++killed) {
    const std::uint64_t readings = board_.frames;
    const std::uint64_t until = seq + 1 + random_() % 200;
    ASSERT_TRUE(eventually([&] { return publish() >= until && board_.frames > readings; }));
    Peer& victim = readers[random_() % kReaders];
    victim.end();
    victim = Peer("read", board_path_);
  }
  for (Peer& reader : readers) reader.end();
  expect_no_slot_held(images, kSlots);
  EXPECT_EQ(board_.torn, 0u);
  EXPECT_GT(board_.frames, static_cast<std::uint64_t>(kKills));
  RecordProperty("frames", std::to_string(seq));
  RecordProperty("exhausted", std::to_string(exhausted));
}

TEST_F(Crashes, AReliableReaderThatDiesFreesTheWaitingPublisherAndNobodyElseLosesAFrame) {
  constexpr std::uint32_t kSlots = 4;
  constexpr int kKills = 25;
  auto images = publisher(Reliability::kReliable, kSlots);
  Peer survivor("read-reliably", board_path_);
  ASSERT_TRUE(eventually([&] { return images.subscription_count() == 1; }));
  Peer victim("read-reliably", board_path_);
  std::uint64_t seq = 0;
  for (int killed = 0; killed < kKills; ++killed) {
    const std::uint64_t until = seq + 1 + random_() % 60;
    // loan() waits for the slower reader; that it goes on after each kill is the point.
    ASSERT_TRUE(eventually([&] {
      EXPECT_TRUE(publish_frame(images, ++seq));
      return seq >= until && images.subscription_count() == 2;
    }));
    victim.end();
    victim = Peer("read-reliably", board_path_);
  }
  ASSERT_TRUE(eventually([&] {
    EXPECT_TRUE(publish_frame(images, ++seq));
    return board_.frames >= seq;  // the survivor alone has read nearly all
  }));
  victim.end();
  survivor.end();
  expect_no_slot_held(images, kSlots);
  EXPECT_EQ(board_.torn, 0u);
  EXPECT_EQ(board_.skipped, 0u);
}

TEST_F(Crashes, AKilledPublisherIsReplacedAndEveryFrameIsAccountedFor) {
  constexpr int kKills = 25;
  auto page = MetricsPage::create(*domain_, "sub", "test");
  ASSERT_TRUE(page);
  StageLedger ledger(**page, "cam0");
  auto sub = Subscription<Image>::create(*domain_, kCrashTopic, {}, &ledger);
  ASSERT_TRUE(sub);
  std::uint64_t torn = 0;
  const auto read = [&] {
    sub->drain();
    while (auto received = sub->take()) {
      if (!intact(*received)) ++torn;
      ledger.depart();
    }
    return ledger.out();
  };
  std::filesystem::path last_pool;
  for (int life = 0; life < kKills; ++life) {
    Peer camera("publish", board_path_);
    const std::uint64_t until = read() + 1 + random_() % 60;
    ASSERT_TRUE(eventually([&] { return read() >= until; })) << "life " << life;
    const auto pools = domain_->list_pools(kCrashTopic);
    ASSERT_THAT(pools, SizeIs(1)) << "an earlier incarnation is still there";
    EXPECT_NE(pools.front(), last_pool);
    last_pool = pools.front();
    const auto second = Publisher<Image>::create(*domain_, kCrashTopic);
    EXPECT_FALSE(second) << "took the topic of a live publisher";
    camera.end();
  }
  // What is still in the socket of the last life.
  EXPECT_TRUE(eventually([&, before = ~std::uint64_t{0}]() mutable {
    return std::exchange(before, read()) == ledger.out();
  }));
  EXPECT_EQ(torn, 0u);
  const auto camera_page = MetricsReader::open(*domain_, "cam0");
  const auto own_page = MetricsReader::open(*domain_, "sub");
  ASSERT_TRUE(camera_page && own_page);
  const std::array chain{read_stage(**camera_page, "cam0"), read_stage(**own_page, "cam0")};
  const FrameAccount total = account(chain, true);
  EXPECT_TRUE(total.balanced());
  EXPECT_EQ(total.overcounted, 0u);
  EXPECT_EQ(total.captured, total.delivered + total.dropped());
  EXPECT_GE(total.captured, board_.frames);
  EXPECT_EQ(ledger.in_process(), 0u);

  domain_->sweep();
  EXPECT_THAT(domain_->list_pools(kCrashTopic), IsEmpty());
  EXPECT_THAT(domain_->list_topics(), IsEmpty());
}

TEST_F(Crashes, AForkedChildDoesNotKeepADeadReadersSlots) {
  constexpr std::uint32_t kSlots = 2;
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe2(pipe_ends.data(), O_CLOEXEC), 0);
  auto images = publisher(Reliability::kBestEffort, kSlots);
  Peer reader("hold-and-fork", board_path_, pipe_ends[0]);
  std::uint64_t seq = 0;
  ASSERT_TRUE(eventually([&] {
    publish_frame(images, ++seq);
    return board_.frames == 1 && board_.ready == 1;
  }));
  reader.end();
  expect_no_slot_held(images, kSlots);
  close(pipe_ends[0]);
  close(pipe_ends[1]);  // the forked child sees the end of its input
}

}  // namespace
}  // namespace fovea::test
