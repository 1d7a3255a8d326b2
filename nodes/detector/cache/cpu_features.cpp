// Asks the compiler's run-time support, which also checks that the kernel saves the registers.
#include "nodes/detector/cache/cpu_features.hpp"

#include <sys/utsname.h>

namespace fovea {

std::string cpu_features() {
  utsname system{};
  ::uname(&system);
  std::string features = system.machine;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto add = [&](bool present, const char* name) {
    if (present) features += std::string(" ") + name;
  };
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
#endif
  return features;
}

}  // namespace fovea
