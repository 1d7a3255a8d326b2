#include "nodes/detector/engine/cpu/thread_pool.hpp"

#include <latch>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/support/allocation_guard.hpp"

namespace fovea::engine::cpu {
namespace {

std::unique_ptr<ThreadPool> make_pool(
    int threads, std::chrono::microseconds spin = std::chrono::microseconds(50)) {
  auto pool = ThreadPool::create({.threads = threads, .cpus = {}, .spin = spin});
  EXPECT_TRUE(pool.has_value());
  return std::move(*pool);
}

TEST(ThreadPoolTest, EveryTaskRunsOnceAndItsWritesAreVisible) {
  for (const int threads : {1, 2, 5}) {
    for (const auto spin : {std::chrono::microseconds(0), std::chrono::microseconds(50)}) {
      auto pool = make_pool(threads, spin);
      for (int round = 0; round < 600; ++round) {
        std::vector<int> runs(static_cast<std::size_t>(round % 23),
                              0);  // plain ints: a race would show
        const auto tasks = static_cast<std::int64_t>(runs.size());
        pool->parallel_for(tasks, [&](std::int64_t task, int worker) {
          EXPECT_GE(worker, 0);
          EXPECT_LT(worker, threads);
          ++runs[static_cast<std::size_t>(task)];
        });
        ASSERT_EQ(std::accumulate(runs.begin(), runs.end(), 0), tasks);
        ASSERT_TRUE(std::all_of(runs.begin(), runs.end(), [](int n) { return n == 1; }));
      }
    }
  }
}

TEST(ThreadPoolTest, TasksOfOneWorkerNeverOverlap) {
  constexpr int kThreads = 4;
  auto pool = make_pool(kThreads);
  std::vector<std::int64_t> scratch(kThreads, 0);  // plain: shared use would be a data race
  constexpr std::int64_t kTasks = 20000;
  pool->parallel_for(
      kTasks, [&](std::int64_t, int worker) { ++scratch[static_cast<std::size_t>(worker)]; });
  EXPECT_EQ(std::accumulate(scratch.begin(), scratch.end(), std::int64_t{0}), kTasks);
}

TEST(ThreadPoolTest, TasksReallyRunAtTheSameTime) {
  constexpr int kThreads = 3;
  auto pool = make_pool(kThreads);
  std::latch all_here(
      kThreads);  // a pool that ran them one after the other would wait here for ever
  pool->parallel_for(kThreads, [&](std::int64_t, int) { all_here.arrive_and_wait(); });
  SUCCEED();
}

// A worker that sleeps inside a task holds up that task only: the others finish the rest.
TEST(ThreadPoolTest, AStalledWorkerKeepsItsOneTaskOnly) {
  auto pool = make_pool(2);
  constexpr std::int64_t kTasks = 100;
  std::atomic<std::int64_t> others{0};
  pool->parallel_for(kTasks, [&](std::int64_t task, int) {
    if (task == 0) {
      for (std::int64_t seen; (seen = others.load()) != kTasks - 1;) others.wait(seen);
    } else {
      others.fetch_add(1);
      others.notify_all();
    }
  });
  EXPECT_EQ(others.load(), kTasks - 1);
}

TEST(ThreadPoolTest, ParkedWorkersWakeUpAndAllParallelCallsAllocateNothing) {
  auto pool = make_pool(2, std::chrono::microseconds(0));
  const test::AllocationGuard guard;
  for (int round = 0; round < 200; ++round) {
    std::latch both(2);  // passes only if the parked worker comes
    pool->parallel_for(2, [&](std::int64_t, int) { both.arrive_and_wait(); });
  }
  EXPECT_EQ(guard.count(), 0U);
}

TEST(ThreadPoolTest, PoolsThatNeverWorkedShutDown) {
  for (int i = 0; i < 50; ++i) EXPECT_EQ(make_pool(4)->threads(), 4);
}

TEST(ThreadPoolTest, BadOptionsAreRefusedWithTheValue) {
  const auto none = ThreadPool::create({.threads = 0});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().message, "threads is 0; it must be 1..256");
  const auto negative = ThreadPool::create({.threads = 2, .cpus = {-1}});
  ASSERT_FALSE(negative.has_value());
  EXPECT_EQ(negative.error().message, "cpus has -1; a CPU must be 0..1023");
  const auto absent = ThreadPool::create({.threads = 2, .cpus = {1023}});
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().code, ErrorCode::kInvalidArgument);
}

TEST(ThreadPoolTest, WorkersStayOnTheirCpus) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &allowed)) ++cpu;
  auto pool = ThreadPool::create({.threads = 2, .cpus = {cpu}});
  ASSERT_TRUE(pool.has_value());
  std::latch both(2);
  int count = 0;
  (*pool)->parallel_for(2, [&](std::int64_t, int worker) {
    both.arrive_and_wait();
    if (worker == 0) return;
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) == 0) count = CPU_COUNT(&mine);
  });
  EXPECT_EQ(count, 1);
}

TEST(ThreadPoolTest, WorkersRunWhereTheCallerDoesNot) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  if (cpus.size() < 2) GTEST_SKIP() << "needs two CPUs";
  auto pool = ThreadPool::create({.threads = 2, .cpus = cpus});
  ASSERT_TRUE(pool.has_value());
  std::thread caller([&] {  // moved from CPU to CPU
    for (const int cpu : cpus) {
      cpu_set_t here;
      CPU_ZERO(&here);
      CPU_SET(cpu, &here);
      ASSERT_EQ(sched_setaffinity(0, sizeof here, &here), 0);
      std::latch both(2);
      cpu_set_t workers;
      CPU_ZERO(&workers);
      (*pool)->parallel_for(2, [&](std::int64_t, int worker) {
        if (worker == 1) sched_getaffinity(0, sizeof workers, &workers);
        both.arrive_and_wait();
      });
      EXPECT_EQ(CPU_COUNT(&workers), static_cast<int>(cpus.size()) - 1);
      EXPECT_FALSE(CPU_ISSET(cpu, &workers));
    }
  });
  caller.join();
}

}  // namespace
}  // namespace fovea::engine::cpu
