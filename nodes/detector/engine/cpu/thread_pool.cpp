#include "nodes/detector/engine/cpu/thread_pool.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <system_error>

#include <pthread.h>
#include <sched.h>

#include "nodes/base/check.hpp"
#include "nodes/base/cores.hpp"

namespace fovea::engine::cpu {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kJobShift = 32;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True once `done` is; false when `limit` has passed before.
template <class Done>
bool spin_until(std::chrono::microseconds limit, Done done) {
  constexpr int kChecksPerClockRead = 16;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < kChecksPerClockRead; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

cpu_set_t set_of(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<std::size_t>(cpu), &set);
  // Workers inherit this thread's.
  if (cpus.empty()) sched_getaffinity(0, sizeof set, &set);
  return set;
}

Result<> restrict_to(std::thread& thread, const cpu_set_t& cpus) {
  if (pthread_setaffinity_np(thread.native_handle(), sizeof cpus, &cpus) != 0) {
    return fail(ErrorCode::kInvalidArgument,
                "none of the thread pool's " + std::to_string(CPU_COUNT(&cpus)) +
                    " CPUs is available to this process; name CPUs of its affinity mask");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(const ThreadPoolOptions& options) {
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return fail(ErrorCode::kInvalidArgument, "threads is " + std::to_string(options.threads) +
                                                 "; it must be 1.." + std::to_string(kMaxThreads));
  }
  for (const int cpu : options.cpus) {
    if (cpu < 0 || cpu >= CPU_SETSIZE) {
      return fail(ErrorCode::kInvalidArgument, "cpus has " + std::to_string(cpu) +
                                                   "; a CPU must be 0.." +
                                                   std::to_string(CPU_SETSIZE - 1));
    }
  }
  const cpu_set_t cpus =
      set_of(options.cpus.empty() && options.threads > 1 ? cpus_for(options.threads, usable_cpus())
                                                         : options.cpus);
  std::unique_ptr<ThreadPool> pool(new ThreadPool(options.spin, cpus));
  pool->workers_.reserve(static_cast<std::size_t>(options.threads - 1));
  for (int worker = 1; worker < options.threads; ++worker) {
    try {
      pool->workers_.emplace_back([self = pool.get(), worker] { self->serve(worker); });
    } catch (const std::system_error& error) {
      return fail(ErrorCode::kExhausted, "thread " + std::to_string(worker) + " of " +
                                             std::to_string(options.threads) +
                                             " could not be started: " + error.what());
    }
    // Those not asked for by name may be gone by now, and are a matter of speed only.
    const Result<> restricted = restrict_to(pool->workers_.back(), cpus);
    if (!restricted && !options.cpus.empty()) return fail(restricted.error());
  }
  return pool;
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::parallel_for(std::int64_t tasks, Task task) {
  FOVEA_CHECK(tasks >= 0 && tasks <= std::numeric_limits<std::uint32_t>::max());
  if (threads() == 1 || tasks <= 1) {
    for (std::int64_t i = 0; i < tasks; ++i) task(i, 0);
    return;
  }
  keep_workers_off_this_cpu();
  const auto count = static_cast<std::uint32_t>(tasks);
  const std::uint32_t job = job_.load(std::memory_order_relaxed) + 1;
  // The last job's ticket goes first: a worker that is late for it and already sees the task or
  // count below must fail to claim with it.
  ticket_.store(std::uint64_t{job} << kJobShift | 0xffffffffu, std::memory_order_relaxed);
  task_.store(&task, std::memory_order_release);
  tasks_.store(count, std::memory_order_release);
  finished_.store(0, std::memory_order_relaxed);
  ticket_.store(std::uint64_t{job} << kJobShift, std::memory_order_release);
  job_.store(job, std::memory_order_release);
  job_.notify_all();

  work(job, 0);
  const auto all_finished = [&] { return finished_.load(std::memory_order_acquire) == count; };
  if (spin_until(spin_, all_finished)) return;
  for (std::uint32_t seen; (seen = finished_.load(std::memory_order_acquire)) != count;) {
    finished_.wait(seen, std::memory_order_acquire);
  }
}

void ThreadPool::keep_workers_off_this_cpu() {
  const int cpu = sched_getcpu();
  if (cpu == callers_cpu_ || cpu < 0) return;
  callers_cpu_ = cpu;
  cpu_set_t set = cpus_;
  CPU_CLR(static_cast<std::size_t>(cpu), &set);
  if (CPU_COUNT(&set) == 0) return;  // there is no other
  for (std::thread& worker : workers_) {
    pthread_setaffinity_np(worker.native_handle(), sizeof set, &set);
  }
}

void ThreadPool::work(std::uint32_t job, int worker) {
  for (std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
       ticket >> kJobShift == job;) {
    const auto next = static_cast<std::uint32_t>(ticket);
    const std::uint32_t tasks = tasks_.load(std::memory_order_acquire);
    if (next >= tasks) return;
    const Task* task = task_.load(std::memory_order_acquire);
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      continue;
    }
    (*task)(next, worker);
    // From here on the caller may return: nothing of this job may be touched after the last task.
    if (finished_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) finished_.notify_one();
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ThreadPool::serve(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    const auto news = [&] { return job_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(spin_, news)) job_.wait(seen, std::memory_order_acquire);
    seen = job_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    work(seen, worker);
  }
}

}  // namespace fovea::engine::cpu
