// In place of primitives.cpp in builds without oneDNN.
#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/onednn/primitives.hpp"

namespace fovea::engine::cpu::onednn {

namespace {

constexpr std::int64_t kBlock = 8;

tl::unexpected<Error> absent() { return fail(ErrorCode::kUnsupported, "this build has no oneDNN"); }

}  // namespace

bool is_built() { return false; }

Result<std::int64_t> select_instruction_set() {
  FOVEA_TRY(kernels::check_isa());
  return kBlock;
}

std::string library_version() { return "no oneDNN"; }

Result<Primitive> make_convolution(const ConvolutionSpec& /*spec*/, std::int64_t /*block*/) {
  return absent();
}

Result<Primitive> make_max_pool(const Window& /*window*/, std::int64_t /*physical_channels*/,
                                std::int64_t /*block*/) {
  return absent();
}

}  // namespace fovea::engine::cpu::onednn
