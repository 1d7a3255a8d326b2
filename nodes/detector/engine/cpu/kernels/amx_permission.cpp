#include "nodes/detector/engine/cpu/kernels/amx_permission.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/core.h>

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fovea::engine::kernels {
namespace {

constexpr unsigned kBf16 = 1U << 22;  // of CPUID(7, 0).EDX
constexpr unsigned kTiles = 1U << 24;
constexpr unsigned kInt8 = 1U << 25;
constexpr unsigned long long kTileState = 3ULL << 17;  // of XCR0: configuration and data

#if defined(__x86_64__) && defined(__linux__)
constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
constexpr int kTileData = 18;               // XFEATURE_XTILEDATA

unsigned long long saved_state() {
  unsigned low = 0;
  unsigned high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<unsigned long long>(high) << 32 | low;
}

AmxSupport ask() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return {};
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTiles) == 0) return {};
  const unsigned long long xcr0 = saved_state();
  int error = 0;
  if ((xcr0 & kTileState) == kTileState &&
      syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) {
    error = errno;
  }
  return judge_amx(d, xcr0, error);
}
#else
AmxSupport ask() { return {}; }
#endif

}  // namespace

AmxSupport judge_amx(unsigned edx, unsigned long long xcr0, int error) {
  AmxSupport support;
  if ((edx & kTiles) == 0) return support;
  if ((xcr0 & kTileState) != kTileState) {
    support.refused = "AMX: the system does not save the tiles' state";
  } else if (error == ENOSPC) {
    support.refused =
        "AMX: refused, for some thread has an alternate signal stack that is too small for the "
        "tiles' state";
  } else if (error != 0) {
    char text[128];
    const char* said = strerror_r(error, text, sizeof text);
    support.refused = fmt::format("AMX: refused, {} (Linux gives it from 5.16 on)", said);
  } else {
    support.int8 = (edx & kInt8) != 0;
    support.bf16 = (edx & kBf16) != 0;
  }
  return support;
}

const AmxSupport& amx_support() {
  static const AmxSupport kSupport = ask();
  return kSupport;
}

}  // namespace fovea::engine::kernels
