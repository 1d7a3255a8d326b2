// The process that gets killed: crash_peer read|read-reliably|publish|hold-and-fork BOARD
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <string_view>

#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "nodes/runtime/figures/metrics.hpp"
#include "tests/crash/board.hpp"
#include "tests/crash/frames.hpp"

namespace fovea::test {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "crash_peer: %s\n", result.error().message.c_str());
    std::exit(2);
  }
  return std::move(*result);
}

void pause_us(long microseconds) {
  const timespec pause{0, microseconds * 1000};
  nanosleep(&pause, nullptr);
}

// Reads for ever; checks each frame when it comes and again before it lets go, up to three frames
// later.
[[noreturn]] void read(const Domain& domain, Board& board, bool reliably) {
  QoS qos;
  if (reliably) qos.reliability = Reliability::kReliable;
  auto sub = must(Subscription<msgs::Image>::create(domain, kCrashTopic, qos));
  std::mt19937 random(static_cast<unsigned>(getpid()));
  std::deque<Received<msgs::Image>> held;
  std::uint64_t last = 0;
  ++board.ready;
  for (;;) {
    pollfd item{sub.fd(), POLLIN, 0};
    poll(&item, 1, 100);
    sub.drain();
    while (auto received = sub.take()) {
      const std::uint64_t seq = received->message.header.seq;
      if (reliably && last != 0 && seq != last + 1) ++board.skipped;
      last = seq;
      if (!intact(*received)) ++board.torn;
      held.push_back(std::move(*received));
      if (random() % 4 == 0) pause_us(random() % 2000);
      while (held.size() > random() % 3) {
        if (!intact(held.front())) ++board.torn;
        held.pop_front();
      }
      ++board.frames;
    }
  }
}

// Publishes for ever, as a camera that counts its frames would.
[[noreturn]] void publish(const Domain& domain, Board& board) {
  const auto page = must(MetricsPage::create(domain, "cam0", "camera"));
  StageLedger ledger(*page, "cam0");
  PoolOptions pool;
  pool.slot_count = 5;
  auto images = must(Publisher<msgs::Image>::create(domain, kCrashTopic, {}, pool, &ledger));
  ++board.ready;
  for (;;) {
    if (publish_frame(images, ledger.capture())) ++board.frames;
    pause_us(200);
  }
}

// Holds a frame and leaves a forked child behind that never ends by itself.
[[noreturn]] void hold_and_fork(const Domain& domain, Board& board) {
  auto sub = must(Subscription<msgs::Image>::create(domain, kCrashTopic));
  std::optional<Received<msgs::Image>> received;
  while (!received) {
    pollfd item{sub.fd(), POLLIN, 0};
    poll(&item, 1, 100);
    sub.drain();
    received = sub.take();
  }
  if (fork() == 0) {
    // Outlives its parent; ends when the test closes the other end of standard input.
    ++board.ready;
    pollfd input{STDIN_FILENO, POLLIN, 0};
    poll(&input, 1, -1);
    _exit(0);
  }
  ++board.frames;
  for (;;) pause();
}

}  // namespace
}  // namespace fovea::test

int main(int argc, char** argv) {
  using namespace fovea::test;
  if (argc != 3) return 2;
  const std::string_view mode = argv[1];
  Board& board = open_board(argv[2]);
  const fovea::Domain domain = must(fovea::Domain::open("test"));
  if (mode == "publish") publish(domain, board);
  if (mode == "read") read(domain, board, false);
  if (mode == "read-reliably") read(domain, board, true);
  if (mode == "hold-and-fork") hold_and_fork(domain, board);
  return 2;
}
