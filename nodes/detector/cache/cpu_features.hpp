// What instruction sets this machine has, as text: part of a cached plan's identity, because a plan
// made for one CPU may be slow or wrong for another.
#pragma once

#include <string>

namespace fovea {

// "x86_64 sse4.2 avx2 fma avx512f ...", "aarch64 asimd asimddp ...", or the architecture's name alone.
std::string cpu_features();

}  // namespace fovea
