#include "nodes/detector/engine/cpu/kernels/isa.hpp"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <fmt/format.h>

#include "nodes/detector/engine/cpu/kernels/amx_permission.hpp"

namespace fovea::engine::kernels {
namespace {

bool has(const CpuFeatures& features, InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
    case InstructionSet::kSse4:  // no kernels of ours: what runs there runs on any CPU
      return true;
    case InstructionSet::kAvx2:
      return features.avx2;
    case InstructionSet::kAvxVnni:
      return features.avx_vnni;
    case InstructionSet::kAvx512:
      return features.avx512;
    case InstructionSet::kAvx512Vnni:
      return features.avx512_vnni;
    case InstructionSet::kAvx512Fp16:
      return features.avx512;  // or emulated
    case InstructionSet::kAmx:
      return features.amx_int8 || features.amx_bf16;
    case InstructionSet::kNeon:
      return features.neon;
    case InstructionSet::kNeonDotprod:
      return features.neon_dotprod;
    case InstructionSet::kI8mm:
      return features.i8mm;
  }
  return false;
}

}  // namespace

CpuFeatures detect_cpu_features() {
  CpuFeatures features;
#if defined(__x86_64__)
  features.avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
                  __builtin_cpu_supports("f16c") != 0;
  features.avx_vnni = features.avx2 && __builtin_cpu_supports("avxvnni") != 0;
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") != 0 &&
                    __builtin_cpu_supports("avx512bw") != 0 &&
                    __builtin_cpu_supports("avx512vl") != 0 &&
                    __builtin_cpu_supports("avx512dq") != 0;
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni") != 0;
  features.avx512_vbmi = features.avx512 && __builtin_cpu_supports("avx512vbmi") != 0;
  features.avx512_fp16 = features.avx512 && __builtin_cpu_supports("avx512fp16") != 0;
  features.amx_bf16 =
      features.avx512 && __builtin_cpu_supports("avx512bf16") != 0 && amx_support().bf16;
  features.amx_int8 = features.avx512_vnni && features.avx512_vbmi && amx_support().int8;
#elif defined(__aarch64__)
  const unsigned long capabilities = getauxval(AT_HWCAP);
  features.neon = (capabilities & HWCAP_ASIMD) != 0;
  features.neon_dotprod = features.neon && (capabilities & HWCAP_ASIMDDP) != 0;
  features.i8mm = features.neon_dotprod && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#endif
  return features;
}

CpuFeatures limit_features(CpuFeatures features, InstructionSet highest) {
  const auto keep = [&](bool& feature, InstructionSet set) { feature = feature && highest >= set; };
  const bool emulate = highest == InstructionSet::kAvx512Fp16 && !features.avx512_fp16;
  keep(features.avx2, InstructionSet::kAvx2);
  keep(features.avx_vnni, InstructionSet::kAvxVnni);
  keep(features.avx512, InstructionSet::kAvx512);
  keep(features.avx512_vnni, InstructionSet::kAvx512Vnni);
  keep(features.avx512_vbmi, InstructionSet::kAvx512Vnni);
  keep(features.avx512_fp16, InstructionSet::kAvx512Fp16);
  keep(features.amx_int8, InstructionSet::kAmx);
  keep(features.amx_bf16, InstructionSet::kAmx);
  keep(features.neon, InstructionSet::kNeon);
  keep(features.neon_dotprod, InstructionSet::kNeonDotprod);
  keep(features.i8mm, InstructionSet::kI8mm);
  features.emulated_fp16 = emulate && features.avx512;
  return features;
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures kFeatures = limit_features(
      detect_cpu_features(), requested_instruction_set().value_or(kHighestInstructionSet));
  return kFeatures;
}

std::string to_string(const CpuFeatures& features) {
  std::string text;
  const auto append = [&](bool has, const char* name) {
    if (has) text += (text.empty() ? "" : " ") + std::string(name);
  };
  append(features.avx2, "avx2");
  append(features.avx_vnni, "avx_vnni");
  append(features.avx512, "avx512");
  append(features.avx512_vnni, "avx512_vnni");
  append(features.avx512_vbmi, "avx512_vbmi");
  append(features.avx512_fp16, "avx512_fp16");
  append(features.amx_int8, "amx_int8");
  append(features.amx_bf16, "amx_bf16");
  append(features.neon, "neon");
  append(features.neon_dotprod, "neon_dotprod");
  append(features.i8mm, "i8mm");
  append(features.emulated_fp16, "emulated_fp16");
  return text.empty() ? "none" : text;
}

Result<> check_isa() {
  FOVEA_TRY(check_requested_instruction_set());
  const std::optional<InstructionSet> requested = requested_instruction_set();
  const CpuFeatures features = detect_cpu_features();
  if (!requested || has(features, *requested)) return {};
  const std::string& refused = amx_support().refused;
  const bool tiles = *requested == InstructionSet::kAmx && !refused.empty();
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("FOVEA_ISA is {}, which this CPU lacks; it has: {}{}{}", to_string(*requested),
                  to_string(features), tiles ? "; " : "", tiles ? refused : ""));
}

}  // namespace fovea::engine::kernels
