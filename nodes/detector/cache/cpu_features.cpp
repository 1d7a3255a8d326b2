// Asks the compiler's run-time support, which also checks that the kernel saves the registers.
#include "nodes/detector/cache/cpu_features.hpp"

#include <sys/utsname.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace fovea {

std::string cpu_features() {
  utsname system{};
  ::uname(&system);
  std::string features = system.machine;
  [[maybe_unused]] const auto add = [&](bool present, const char* name) {
    if (present) features += std::string(" ") + name;
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  add(__builtin_cpu_supports("sse4.2") != 0, "sse4.2");
  add(__builtin_cpu_supports("avx") != 0, "avx");
  add(__builtin_cpu_supports("avx2") != 0, "avx2");
  add(__builtin_cpu_supports("fma") != 0, "fma");
  add(__builtin_cpu_supports("avx512f") != 0, "avx512f");
  add(__builtin_cpu_supports("avx512bw") != 0, "avx512bw");
  add(__builtin_cpu_supports("avx512vl") != 0, "avx512vl");
  add(__builtin_cpu_supports("avx512vbmi") != 0, "avx512vbmi");
  add(__builtin_cpu_supports("avx512vnni") != 0, "avx512vnni");
  add(__builtin_cpu_supports("avx512bf16") != 0, "avx512bf16");
#elif defined(__aarch64__)
  const unsigned long first = getauxval(AT_HWCAP);
  const unsigned long second = getauxval(AT_HWCAP2);
  add((first & HWCAP_ASIMD) != 0, "asimd");
  add((first & HWCAP_ASIMDHP) != 0, "asimdhp");
  add((first & HWCAP_ASIMDDP) != 0, "asimddp");
  add((second & HWCAP2_I8MM) != 0, "i8mm");
  add((second & HWCAP2_BF16) != 0, "bf16");
  add((first & HWCAP_SVE) != 0, "sve");
#endif
  return features;
}

}  // namespace fovea
