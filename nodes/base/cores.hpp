// How many threads make sense here, for every "0 = one per core".
//
// Thread safety: any thread.
#pragma once

#include <cstdint>

namespace fovea {

// CPUs that the calling thread may run on: its affinity mask (taskset, cpuset), not what the
// machine has. At least 1.
std::int32_t usable_cores();

}  // namespace fovea
