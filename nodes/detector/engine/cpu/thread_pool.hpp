// The threads that share the work of one operator. A detector has a few hundred operators per
// picture, each of some 10 microseconds: waking threads through the kernel for each would double
// the run time, and spinning for ever starves whoever else wants the cores. So workers spin for a
// bounded time, then park.
//
// A worker that the kernel wakes up on the caller's own core waits there for milliseconds, until
// the scheduler moves it; meanwhile the caller does all the work alone. So workers may run anywhere
// but where the caller is.
//
// Tasks are claimed one by one from an atomic counter: a worker that lost its core holds up the one
// task that it runs, and one that wakes up late is not waited for at all.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include <sched.h>

#include "nodes/base/result.hpp"

namespace fovea::engine::cpu {

// A borrowed callable: two words, no allocation. Valid as long as the callable lives.
template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& callable)  // NOLINT(google-explicit-constructor): a parameter type
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

struct ThreadPoolOptions {
  int threads = 1;  // the caller's included, 1..256; 1 starts none
  // Where workers may run; empty = on the fast CPUs that the process may use if they are enough, else
  // on all. The caller's thread is left alone.
  std::vector<int> cpus{};
  // How long an idle worker, or a caller that waits for the last tasks, burns its core before it
  // parks.
  std::chrono::microseconds spin{50};
};

class ThreadPool {
 public:
  // worker is 0..threads() - 1, 0 = the caller; tasks of one worker never run at the same time.
  using Task = FunctionRef<void(std::int64_t task, int worker)>;

  // Errors: kInvalidArgument for a thread count or CPU number out of range, kExhausted without
  // threads.
  static Result<std::unique_ptr<ThreadPool>> create(const ThreadPoolOptions& options);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs task(0..tasks - 1) and returns when all have finished; what they wrote is visible to the
  // caller. Allocates nothing. REQUIRES: one caller at a time; not from inside a task; the task
  // does not throw; 0 <= tasks < 2^32.
  void parallel_for(std::int64_t tasks, Task task);

 private:
  ThreadPool(std::chrono::microseconds spin, const cpu_set_t& cpus) : spin_(spin), cpus_(cpus) {}

  void keep_workers_off_this_cpu();
  void work(std::uint32_t job, int worker);
  void serve(int worker);
  void stop();

  const std::chrono::microseconds spin_;
  const cpu_set_t cpus_;  // that workers may use
  std::vector<std::thread> workers_;
  int callers_cpu_ = -1;  // where workers do not run

  // The open job's number in the high half, its next unclaimed task in the low half. A successful
  // compare-and-swap proves that the job is still open, hence that task_ and tasks_ are this job's.
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<std::uint32_t> finished_{0};
  alignas(64) std::atomic<std::uint32_t> job_{0};  // what parked workers wait on
  std::atomic<const Task*> task_{nullptr};
  std::atomic<std::uint32_t> tasks_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace fovea::engine::cpu
