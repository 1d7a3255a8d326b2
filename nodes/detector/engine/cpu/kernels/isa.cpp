#include "nodes/detector/engine/cpu/kernels/isa.hpp"

#include <cstdlib>

namespace fovea::engine::kernels {

CpuFeatures detect_cpu_features() {
  CpuFeatures features;
#if defined(__x86_64__)
  features.avx512 =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni") != 0;
  features.avx512_vbmi = features.avx512 && __builtin_cpu_supports("avx512vbmi") != 0;
  features.avx512_fp16 = features.avx512 && __builtin_cpu_supports("avx512fp16") != 0;
#endif
  return features;
}

CpuFeatures limit_features(CpuFeatures features, std::string_view isa) {
  if (isa == "scalar" || isa == "sse4" || isa == "sse41" || isa == "avx2") return {};
  if (isa == "avx512") return {.avx512 = features.avx512};
  if (isa == "avx512_vnni") features.avx512_fp16 = false;
  if (isa == "avx512_fp16") features.emulated_fp16 = features.avx512 && !features.avx512_fp16;
  return features;
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures kFeatures = [] {
    const char* isa = std::getenv("FOVEA_ISA");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    return limit_features(detect_cpu_features(), isa == nullptr ? "" : isa);
  }();
  return kFeatures;
}

std::string to_string(const CpuFeatures& features) {
  std::string text;
  const auto append = [&](bool has, const char* name) {
    if (has) text += (text.empty() ? "" : " ") + std::string(name);
  };
  append(features.avx512, "avx512");
  append(features.avx512_vnni, "avx512_vnni");
  append(features.avx512_vbmi, "avx512_vbmi");
  append(features.avx512_fp16, "avx512_fp16");
  append(features.emulated_fp16, "emulated_fp16");
  return text.empty() ? "none" : text;
}

}  // namespace fovea::engine::kernels
