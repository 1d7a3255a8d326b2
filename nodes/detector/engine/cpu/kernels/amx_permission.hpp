// Whether this process may use AMX, the matrix tiles of newer server CPUs. The kernel gives their
// 8 KiB of state only to processes that ask for it.
#pragma once

#include <string>

namespace fovea::engine::kernels {

struct AmxSupport {
  bool int8 = false;
  bool bf16 = false;
  // Why a CPU that has AMX may not use it, in one line; empty if it may, or has none.
  std::string refused{};
};

// What the CPU and the system give, asked for on the first call and for the whole process: threads
// that run already and those to come may use the tiles from then on. Afterwards the kernel refuses
// alternate signal stacks that the tiles' state does not fit; where some thread has such a stack
// already, it refuses the tiles.
const AmxSupport& amx_support();

// The same from the answers themselves; public for tests. `edx` is CPUID(7, 0).EDX, `xcr0` the
// state that the system saves, `error` the errno of asking for permission, 0 if it was given.
AmxSupport judge_amx(unsigned edx, unsigned long long xcr0, int error);

}  // namespace fovea::engine::kernels
