#include "nodes/base/cores.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <thread>

#include <sched.h>

namespace fovea {

std::int32_t usable_cores() {
  // The kernel refuses a set that is smaller than its own: EINVAL on a machine of more CPUs.
  for (int cpus = CPU_SETSIZE; cpus <= 64 * CPU_SETSIZE; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(cpus));
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    const bool got = ::sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !got && errno == EINVAL;
    const int count = got ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (got) return std::max(1, count);
    if (!too_small) break;
  }
  return static_cast<std::int32_t>(std::max(1U, std::thread::hardware_concurrency()));
}

}  // namespace fovea
