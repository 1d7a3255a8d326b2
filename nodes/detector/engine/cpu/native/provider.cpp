#include "nodes/detector/engine/cpu/native/provider.hpp"

#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/cpu/program/engine.hpp"

namespace fovea::engine::cpu::native {

Result<> check_vectors(const kernels::CpuFeatures& features) {
  if (kernels::best_tiles(DataType::kFloat32, features) != nullptr) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("own kernels need avx2 or neon, the CPU or FOVEA_ISA has: {}",
                          kernels::to_string(features)));
}

Result<std::shared_ptr<const Engine>> load(const NetworkDefinition& lowered, EngineInfo info,
                                              const CompileOptions& options) {
  if (!options.alone) FOVEA_TRY(check_vectors(options.features));
  FOVEA_ASSIGN(Program program, compile(lowered, options));
  if (info.precision == Precision::kFp16 && !options.features.avx512_fp16 &&
      !options.features.emulated_fp16) {
    info.precision = Precision::kFp32;  // what will run
    program.declined.push_back(
        fmt::format("fp16 runs as fp32: needs avx512_fp16, the CPU or FOVEA_ISA has: {}",
                    kernels::to_string(options.features)));
  }
  if (info.precision == Precision::kBf16 && !options.features.amx_bf16) {
    info.precision = Precision::kFp32;  // what will run
    program.declined.push_back(
        fmt::format("bf16 runs as fp32: needs amx_bf16, the CPU or FOVEA_ISA has: {}",
                    kernels::to_string(options.features)));
  }
  return make_engine(std::move(program), std::move(info));
}

}  // namespace fovea::engine::cpu::native
