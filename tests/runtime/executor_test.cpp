#include "nodes/runtime/executor.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/support/allocation_guard.hpp"

namespace fovea {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""us;
using std::chrono_literals::operator""ns;

class ZmqPair {
 public:
  ZmqPair()
      : context_(zmq_ctx_new()),
        left(zmq_socket(context_, ZMQ_PAIR)),
        right(zmq_socket(context_, ZMQ_PAIR)) {
    EXPECT_EQ(zmq_bind(left, "inproc://pair"), 0);
    EXPECT_EQ(zmq_connect(right, "inproc://pair"), 0);
  }
  ~ZmqPair() {
    zmq_close(left);
    zmq_close(right);
    zmq_ctx_term(context_);
  }
  void send(const std::string& text) { EXPECT_GE(zmq_send(left, text.data(), text.size(), 0), 0); }
  std::string receive() {
    std::array<char, 64> text{};
    const int size = zmq_recv(right, text.data(), text.size(), ZMQ_DONTWAIT);
    return size < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(size));
  }

 private:
  void* context_;

 public:
  void* left;
  void* right;
};

TEST(Executor, TimersRunInOrderOfTheirDeadlines) {
  Executor executor;
  std::string order;
  executor.add_timer(30ms, [&] { order += 'c'; });
  executor.add_timer(10ms, [&] { order += 'a'; });
  executor.add_timer(20ms, [&] { order += 'b'; });
  // All three are overdue when the loop starts: one turn runs them.
  std::this_thread::sleep_until(std::chrono::steady_clock::now() + 31ms);
  executor.post([&] { executor.stop(); });
  executor.run();
  EXPECT_EQ(order, "abc");
}

TEST(Executor, LateLoopSkipsMissedTurns) {
  Executor executor;
  int turns = 0;
  const auto start = std::chrono::steady_clock::now();
  executor.add_timer(1ms, [&] {
    ++turns;
    // Later turns are on the grid of deadlines, whatever a callback costs.
    if (turns == 1) std::this_thread::sleep_until(start + 20ms);
    if (turns == 3) executor.stop();
  });
  executor.run();
  EXPECT_EQ(turns, 3);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 21ms);
}

TEST(Executor, TimerShorterThanAMillisecondDoesNotWaitForOne) {
  Executor executor;
  int fast = 0, slow = 0;
  executor.add_timer(100us, [&] { ++fast; });
  executor.add_timer(20ms, [&] {
    ++slow;
    if (fast >= 25) executor.stop();  // at most 20 turns in 20 ms if waits were whole milliseconds
  });
  executor.add_timer(10000ms, [&] { executor.stop(); });
  executor.run();
  EXPECT_GE(fast, 25);
  EXPECT_GE(slow, 1);
}

TEST(Executor, PostedTasksOfOtherThreadsRunInOrderOnTheLoop) {
  Executor executor;
  std::vector<int> seen;
  std::atomic<bool> on_loop{true};
  const std::thread::id loop = std::this_thread::get_id();
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) {
      executor.post([&, i] {
        if (std::this_thread::get_id() != loop) on_loop = false;
        seen.push_back(i);
        if (i == 999) executor.stop();
      });
    }
  });
  executor.run();
  poster.join();
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
  EXPECT_TRUE(on_loop);
}

TEST(Executor, StopBeforeRunReturnsAtOnceAndOnlyOnce) {
  Executor executor;
  bool ran = false;
  executor.post([&] {
    ran = true;
    executor.stop();
  });
  executor.stop();
  executor.run();
  EXPECT_FALSE(ran);
  executor.run();
  EXPECT_TRUE(ran);
}

TEST(Executor, StopFromAnotherThreadWakesAWaitWithoutTimers) {
  Executor executor;
  std::thread stopper([&] { executor.stop(); });
  executor.run();
  stopper.join();
}

TEST(Executor, SocketIsCalledUntilItIsEmpty) {
  ZmqPair pair;
  Executor executor;
  std::vector<std::string> received;
  executor.add_socket(pair.right, [&] {
    received.push_back(pair.receive());  // one a call: level-triggered, the rest is not forgotten
    if (received.size() == 3) executor.stop();
  });
  for (const char* text : {"a", "b", "c"}) pair.send(text);
  executor.run();
  EXPECT_EQ(received, (std::vector<std::string>{"a", "b", "c"}));
}

TEST(Executor, MessageThatArrivesDuringAnotherCallbackIsNotMissed) {
  ZmqPair pair;
  Executor executor;
  std::string received;
  executor.add_socket(pair.right, [&] {
    received = pair.receive();
    executor.stop();
  });
  // Reading ZMQ_EVENTS here swallows the descriptor's edge before the loop sees it.
  executor.post([&] {
    pair.send("late");
    int events = 0;
    std::size_t size = sizeof(events);
    zmq_getsockopt(pair.right, ZMQ_EVENTS, &events, &size);
  });
  executor.run();
  EXPECT_EQ(received, "late");
}

TEST(Executor, RegistrationRemovedInACallbackIsNotCalledInTheSameTurn) {
  Executor executor;
  const int a = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), b = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
  int calls_a = 0, calls_b = 0;
  Executor::Id id_a = 0, id_b = 0;
  id_a = executor.add_fd(a, [&] {
    ++calls_a;
    executor.remove(id_b);
    executor.remove(id_a);  // itself: the callback must survive until it returns
    executor.remove(12345);
    executor.post([&] { executor.post([&] { executor.stop(); }); });
  });
  id_b = executor.add_fd(b, [&] { ++calls_b; });
  executor.run();
  EXPECT_EQ(calls_a, 1);
  EXPECT_EQ(calls_b, 0);
  close(a);
  close(b);
}

TEST(Executor, SocketRemovedAndClosedInACallbackIsNotTouchedAgain) {
  void* context = zmq_ctx_new();
  void* socket = zmq_socket(context, ZMQ_REP);
  Executor executor;
  const Executor::Id id = executor.add_socket(socket, [] { FAIL(); });
  executor.post([&] {
    executor.remove(id);
    zmq_close(socket);
    executor.post([&] { executor.stop(); });
  });
  executor.run();
  zmq_ctx_term(context);
}

TEST(Executor, RegistrationsAddedInACallbackWork) {
  Executor executor;
  const int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
  executor.post([&] {
    // Enough that the containers grow while the turn walks them.
    for (int i = 0; i < 100; ++i) {
      executor.add_timer(1ns * (i + 1), [] {});
    }
    executor.add_fd(fd, [&] { executor.stop(); });
  });
  executor.run();
  close(fd);
}

TEST(Executor, RemoveSinceEndsWhatCameLater) {
  Executor executor;
  int early = 0, late = 0;
  executor.add_timer(1ms, [&] {
    if (++early == 3) executor.stop();
  });
  const Executor::Id mark = executor.next_id();
  executor.add_timer(1ms, [&] { ++late; });
  executor.add_timer(1ms, [&] { ++late; });
  executor.remove_since(mark);
  executor.run();
  EXPECT_EQ(early, 3);
  EXPECT_EQ(late, 0);
}

TEST(Executor, DescriptorClosedByMistakeDoesNotSpin) {
  Executor executor;
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  int calls = 0, turns = 0;
  executor.add_fd(fd, [&] { ++calls; });
  close(fd);
  executor.add_timer(1ms, [&] {
    if (++turns == 5) executor.stop();
  });
  executor.run();
  EXPECT_EQ(calls, 0);
}

TEST(Executor, HangUpOfAPipeIsReadable) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  Executor executor;
  ssize_t got = -1;
  executor.add_fd(ends[0], [&] {
    char c = 0;
    got = read(ends[0], &c, 1);
    executor.stop();
  });
  close(ends[1]);
  executor.run();
  EXPECT_EQ(got, 0);
  close(ends[0]);
}

TEST(Executor, SignalReachesTheHandlerOnTheLoop) {
  // In a child: signal masks and the "came" flag are the process's.
  EXPECT_EXIT(
      {
        Executor::block_signals();
        if (Executor::stop_signalled()) _exit(1);
        Executor executor;
        int seen = 0;
        executor.set_signal_handler([&](int signal) {
          seen = signal;
          executor.stop();
        });
        kill(getpid(), SIGTERM);
        if (!Executor::stop_signalled()) _exit(2);  // pending counts
        executor.run();
        if (!Executor::stop_signalled()) _exit(3);
        _exit(seen == SIGTERM ? 0 : 4);
      },
      testing::ExitedWithCode(0), "");
}

TEST(Executor, TurnAllocatesNothingAfterWarmUp) {
  ZmqPair pair;
  Executor executor;
  const int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
  std::vector<std::size_t> allocations;
  allocations.reserve(4);
  std::optional<test::AllocationGuard> guard;
  int turns = 0;
  executor.add_fd(fd, [] {});  // readable in every turn
  executor.add_socket(pair.right, [] {});
  executor.add_timer(1ns, [&] {
    if (++turns == 100) guard.emplace();
    if (turns == 200) {
      allocations.push_back(guard->count());
      executor.stop();
    }
    executor.post([] {});  // small tasks need no memory of their own
  });
  executor.run();
  EXPECT_EQ(allocations, std::vector<std::size_t>{0});
  close(fd);
}

}  // namespace
}  // namespace fovea
